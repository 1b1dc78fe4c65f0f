"""What finesweep needs of a PeftModel that peft doesn't offer; tests/test_library_insides.py tests each.

All of it was read from peft 0.21.2. What peft documents is used where it is needed: `peft_config`,
`base_model`, `prompt_encoder`, `get_base_model`, `active_peft_config`, `update_and_allocate`, the functions
of state dicts, and the names in its files (`base_model.model.`, `lora_A`, `lora_B`, no adapter's name).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

# What a model's weights are called once a method is attached: its own in a layer that the method wraps
# (tuners/tuners_utils.py); the trained and the first copy of a module that is saved whole (utils/other.py).
_WRAPPED, _TRAINED_COPY, _FIRST_COPY = ".base_layer", ".modules_to_save.default", ".original_module"
_ADAPTER = "default"
_AVERAGES = ("ipt", "exp_avg_ipt", "exp_avg_unc")


@dataclass(frozen=True)
class LoraLayer:
    """A linear layer with a LoRA beside it.

    Args:
        frozen: the layer alone.
        scale: what the product of the two matrices is multiplied by.
        dropout: share of the inputs of the first matrix that are left out.
        is_plain: whether it adds B A x times the scale, and nothing else: no DoRA, no bias.
    """

    frozen: nn.Linear
    scale: float
    dropout: float
    is_plain: bool


def lora_layer_of(layer: nn.Module) -> LoraLayer | None:
    """Describe a layer that peft has put a LoRA on (tuners/lora/layer.py); None for every other."""
    from peft.tuners.lora import Linear

    if not isinstance(layer, Linear):
        return None
    dropout = getattr(layer.lora_dropout[_ADAPTER], "p", 0.0)
    is_plain = not layer.lora_variant and not layer.lora_bias[_ADAPTER] and not layer.fan_in_fan_out
    frozen: Any = layer.get_base_layer()
    return LoraLayer(frozen, layer.scaling[_ADAPTER], dropout, is_plain)


def trained_copy_of(layer: nn.Module) -> nn.Module | None:
    """Return what is trained of a module that is saved whole (utils/other.py); None for every other."""
    from peft.utils import ModulesToSaveWrapper

    return layer.modules_to_save[_ADAPTER] if isinstance(layer, ModulesToSaveWrapper) else None


def lora_place(name: str) -> tuple[str, str] | None:
    """Return a LoRA matrix's layer, and `lora_a` or `lora_b`; None for every other weight.

    Args:
        name: in a model or, without the adapter's name, in a file.
    """
    path, _, rest = name.partition(".lora_")
    return (path, f"lora_{rest[0].lower()}") if rest[:2] in ("A.", "B.") else None


def plain_name(name: str) -> str:
    """Return what a weight of an adapted model is called in the model alone; a method's own stays as it is.

    The first copy of a module has a trained one beside it, and stays as it is too.
    """
    return name.replace(_TRAINED_COPY, "").replace(_WRAPPED, "")


def is_first_copy(name: str) -> bool:
    """Say whether a weight, or a module, is what a module that is saved whole was before it was trained."""
    return _FIRST_COPY in name


def original_name(name: str) -> str | None:
    """Return what a weight was called before the method was attached; None of one that came with it."""
    if _WRAPPED in name or _FIRST_COPY in name:
        return name.replace(_WRAPPED, "").replace(_FIRST_COPY, "")
    return None if ".default" in name else name


def lacking_part(error: KeyError) -> str:
    """Return the name of the weight that a file lacks, of a module that is saved whole.

    `PeftModel.from_pretrained` looks it up unasked (utils/save_and_load.py), and no other.
    """
    return str(error.args[0])


def without_place(found: Any) -> set[str]:
    """Return the names that `set_peft_model_state_dict` had no place for (utils/save_and_load.py).

    A prompt's embeddings are among those that it returns, and in their place. So are, where a LoRA trains all
    biases, the second copies that it saves of those of a module that is saved whole.
    """
    names = {
        name for name in found.unexpected_keys if f"{_TRAINED_COPY.removesuffix('.default')}." not in name
    }
    return names - {"prompt_embeddings"}


def take_ranks(model: Any, step: int) -> dict[str, list[bool]] | None:
    """Let AdaLoRA do what it does after a step, whose gradients are still there (tuners/adalora/model.py).

    Its answer is left in the config, where it makes peft shorten the matrices that are saved; here it is not.

    Args:
        model: a PeftModel with AdaLoRA.
        step: optimizer steps done.

    Returns:
        Which triplets of each module are kept, by the name of the values between its matrices; None where the
        schedule takes none away at this step.
    """
    config = model.active_peft_config
    config.rank_pattern = None
    model.base_model.update_and_allocate(step)
    kept, config.rank_pattern = config.rank_pattern, None
    return kept


def keep_ranks(model: Any, kept: Mapping[str, list[bool]]) -> None:
    """Put AdaLoRA's triplets that aren't kept to zero (tuners/adalora/layer.py).

    `update_and_allocate` does it by what stands in the config.
    """
    model.base_model.rankallocator.mask_using_rank_pattern(model.base_model.model, kept)


def rank_averages(model: Any) -> dict[str, dict[str, Tensor]]:
    """Return how much AdaLoRA has found each weight to matter (tuners/adalora/layer.py).

    Without them a training that goes on would begin to judge anew. All are empty before the first step, and
    once the ranks stay.
    """
    return {name: getattr(model.base_model.rankallocator, name) for name in _AVERAGES}


def set_rank_averages(model: Any, averages: Mapping[str, dict[str, Tensor]]) -> None:
    """Bring back what `rank_averages` returned."""
    for name in _AVERAGES:
        setattr(model.base_model.rankallocator, name, averages[name])
