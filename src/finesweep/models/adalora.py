"""AdaLoRA (Zhang et al. 2023, arXiv:2303.10512): its ranks shrink while it trains, on a schedule of steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from finesweep.errors import ConfigError, Fault
from finesweep.models.classifier import method_kinds
from finesweep.models.peft_insides import keep_ranks, rank_averages, set_rank_averages, take_ranks
from finesweep.system.signatures import forwards_to

if TYPE_CHECKING:
    from torch import Tensor

RESERVED = {
    "total_step": "It is the number of training steps, which the run knows.",
    "tinit": "Set the share of the steps instead: peft.warmup_share.",
    "tfinal": "Set the share of the steps instead: peft.final_share.",
    "r": "AdaLoRA starts with peft.init_r and ends with peft.target_r on average.",
}
NOMINAL_STEPS = 1_000_000  # until training begins, and the schedule is brought to its length


@forwards_to("peft.AdaLoraConfig", reserved=RESERVED)
def adalora_config(*, warmup_share: float = 0.1, final_share: float = 0.3, **settings: Any) -> Any:
    """Return a `peft.AdaLoraConfig` whose schedule follows the length of training.

    Args:
        warmup_share: share of the steps before ranks begin to shrink.
        final_share: share of the steps, at the end, in which they stay.
        settings: other arguments of peft.AdaLoraConfig.

    Raises:
        ConfigError: no steps are left between the two, or no ranks to take away.
    """
    from peft import AdaLoraConfig

    if not (warmup_share >= 0 and final_share >= 0 and warmup_share + final_share < 1):
        rule = "peft.warmup_share and peft.final_share must leave steps between them: their sum is below 1."
        raise ConfigError(Fault("peft.warmup_share", rule, warmup_share))
    config = AdaLoraConfig(
        total_step=NOMINAL_STEPS,
        tinit=int(warmup_share * NOMINAL_STEPS),
        tfinal=int(final_share * NOMINAL_STEPS),
        **settings,
    )
    if config.init_r <= config.target_r:
        rule = f"AdaLoRA takes ranks away: it must be above peft.target_r = {config.target_r}."
        raise ConfigError(Fault("peft.init_r", rule, config.init_r))
    return config


class AdaLoraSchedule:
    """What AdaLoRA does around each optimizer step.

    peft would shorten the matrices whenever they are saved; here the triplets that lost their place are kept
    at zero instead, so that a checkpoint has the shapes that training goes on with.

    Args:
        model: a PeftModel with AdaLoRA.
        num_steps: optimizer steps of the whole training.
    """

    def __init__(self, model: Any, num_steps: int) -> None:
        self._model, self._config = model, model.active_peft_config
        nominal, self._config.total_step = self._config.total_step, num_steps
        self._config.tinit = self._config.tinit * num_steps // nominal
        self._config.tfinal = self._config.tfinal * num_steps // nominal
        self._kept: dict[str, list[bool]] | None = None

    def after_step(self, step: int) -> None:
        """Take ranks away where the schedule says so; the gradients of the step are still there.

        Args:
            step: optimizer steps done, this one included.
        """
        last = self._config.total_step - self._config.tfinal
        if step < last or (step == last and rank_averages(self._model)["ipt"]):
            self._kept = take_ranks(self._model, step) or self._kept
        elif self._kept is not None:
            keep_ranks(self._model, self._kept)

    def penalty(self) -> Tensor:
        """Return the loss's second part, which keeps the two matrices of a triplet orthogonal."""
        import torch

        found = []
        for name, matrix in self._model.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                gram = matrix @ matrix.T if "lora_A" in name else matrix.T @ matrix
                found.append(torch.linalg.norm(gram - torch.eye(len(gram), device=gram.device)))
        return self._config.orth_reg_weight * torch.stack(found).mean()

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs beside the weights."""
        return {"kept": self._kept, **rank_averages(self._model)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self._kept = state["kept"]
        set_rank_averages(self._model, state)


def schedule_of(model: Any, num_steps: int) -> AdaLoraSchedule | None:
    """Return the schedule of a model with AdaLoRA; None for any other."""
    return AdaLoraSchedule(model, num_steps) if "ADALORA" in method_kinds(model) else None
