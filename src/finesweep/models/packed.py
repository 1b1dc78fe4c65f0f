"""Several trials' models as one: a frozen backbone that they share, and their own weights in stacks.

A batch holds the rows of all slots, one slot's after the other's. What is frozen treats them as one large
batch; a layer that is trained, or has a LoRA beside it, multiplies each slot's rows with that slot's own
weights (`torch.bmm`). A trial's parameters are views of its part of the stacks, and so are their gradients:
its optimizer, its clipping and its checkpoints work on them as if it were alone. Ranks below the largest are
filled up with zeros, which no view reaches, and which therefore stay zero.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from finesweep.models.classifier import PLAIN, inner_model
from finesweep.models.peft_insides import lora_layer_of, lora_place, plain_name, trained_copy_of
from finesweep.models.transformers_insides import attention_of

Place = tuple[str, str]  # a layer's path in a packed model, and one of KINDS
KINDS = ("weight", "bias", "lora_a", "lora_b", "scale", "taken_a", "taken_b", "dropout")


class PackedLinear(nn.Module):
    """A linear layer of several slots.

    Args:
        frozen: the layer whose weights all slots share; of a layer that is trained, the shape alone counts.
    """

    def __init__(self, frozen: nn.Linear) -> None:
        super().__init__()
        self.frozen = frozen
        self.slots = 1
        # Leaves of shapes (slots, out, in), (slots, out), (slots, rank, in) and (slots, rank, out).
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None
        self.lora_a: Tensor | None = None
        self.lora_b: Tensor | None = None
        self.scale: Tensor | None = None  # (slots, 1, 1)
        # What slots took out of the frozen weights, of the shapes of lora_a and lora_b; no leaves.
        self.taken_a: Tensor | None = None
        self.taken_b: Tensor | None = None
        self.dropout: Tensor | None = None  # (slots, 1, 1), where any is above 0

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (slots * rows, ..., in) to (slots * rows, ..., out)."""
        rows = inputs.reshape(self.slots, -1, inputs.shape[-1])
        shared_bias = self.frozen.bias if self.bias is None else None
        if self.weight is None:
            found = functional.linear(rows, self.frozen.weight, shared_bias)
        else:
            found = torch.bmm(rows, self.weight.to(rows.dtype).transpose(1, 2))
            found = found if shared_bias is None else found + shared_bias
        if self.bias is not None:
            found = found + self.bias.unsqueeze(1)
        if self.lora_a is not None and self.lora_b is not None:
            assert self.scale is not None
            inner = self._dropped(rows) @ self.lora_a.transpose(1, 2)
            found = found + torch.bmm(inner * self.scale, self.lora_b)
            if self.taken_a is not None and self.taken_b is not None:
                taken = rows @ self.taken_a.transpose(1, 2)
                found = found - torch.bmm(taken * self.scale, self.taken_b)
        return found.view(*inputs.shape[:-1], found.shape[-1])

    def _dropped(self, rows: Tensor) -> Tensor:
        if self.dropout is None or not self.training:
            return rows
        kept = torch.rand_like(rows) >= self.dropout
        return rows * kept / (1 - self.dropout)


class PackedNorm(nn.Module):
    """A layer norm that is trained, of several slots.

    Args:
        norm: the shape, and what is added to the variance.
    """

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.shape, self.eps = norm.normalized_shape, norm.eps
        self.slots = 1
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (slots * rows, ..., width) to the same shape."""
        rows = functional.layer_norm(inputs, self.shape, eps=self.eps).reshape(
            self.slots, -1, inputs.shape[-1]
        )
        rows = rows if self.weight is None else rows * self.weight.unsqueeze(1)
        rows = rows if self.bias is None else rows + self.bias.unsqueeze(1)
        return rows.view(inputs.shape)


class Seat:
    """A trial's place in a packed model: which of its parameters belongs where.

    Args:
        model: the trial's own, prepared to train; its frozen weights are those of the others.
        initial: what its matrices started from, where that was taken out of the frozen weights.
    """

    def __init__(self, model: nn.Module, initial: Mapping[str, Tensor]) -> None:
        self.initial = {_place_of(name): tensor for name, tensor in initial.items()}
        self.places = {_place_of(name): p for name, p in model.named_parameters() if p.requires_grad}
        loras = {path: lora_layer_of(layer) for path, layer in model.named_modules()}
        self.scales = {path: lora.scale for path, lora in loras.items() if lora}
        self.dropouts = {path: lora.dropout for path, lora in loras.items() if lora}
        # What a view of a stack is, safetensors doesn't write.
        self._hook = model.register_state_dict_post_hook(_make_contiguous)

    def forget_gradient(self) -> None:
        """Set the trial's gradient to zero."""
        for parameter in self.places.values():
            if parameter.grad is not None:
                parameter.grad.zero_()

    def leave(self) -> None:
        """Give the trial's parameters memory of their own."""
        for parameter in self.places.values():
            parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)
            parameter.grad = None
        self._hook.remove()


class PackedModel:
    """One model for the trials that sit in it.

    Args:
        model: of one of them; what is frozen in it is shared, not copied.
        initial: see Seat.
    """

    def __init__(self, model: nn.Module, initial: Mapping[str, Tensor]) -> None:
        shared = [weight for weight in model.parameters() if not weight.requires_grad]
        self.model = copy.deepcopy(model, {id(weight): weight for weight in [*shared, *model.buffers()]})
        for path, layer in list(self.model.named_modules()):
            if (trained := trained_copy_of(layer)) is not None:
                self._put(path, trained)
        for path, layer in list(self.model.named_modules()):
            if lora := lora_layer_of(layer):
                self._put(path, lora.frozen)
        for path, layer in list(self.model.named_modules()):
            if any(weight.requires_grad for weight in layer.parameters(recurse=False)):
                self._put(path, _packed(layer))
        self._give_back(model, initial)
        self._frozen = {
            _place_of(name): weight for name, weight in model.named_parameters() if not weight.requires_grad
        }

    def _give_back(self, model: nn.Module, initial: Mapping[str, Tensor]) -> None:
        """Put what the first trial took out of the frozen weights back into them here, not in its own."""
        for path in {_place_of(name)[0] for name in initial}:
            lora = lora_layer_of(model.get_submodule(path))
            assert lora is not None
            a, b = (initial[f"{path}.lora_{matrix}.weight"] for matrix in "AB")
            layer = self.model.get_submodule(path)
            frozen: Any = layer.frozen if isinstance(layer, PackedLinear) else layer
            whole = frozen.weight.data + lora.scale * (b @ a).to(frozen.weight)
            frozen.weight = nn.Parameter(whole, requires_grad=False)

    def share_frozen(self, model: nn.Module, initial: Mapping[str, Tensor]) -> None:
        """Let a trial's model use the frozen weights that are here already, where its own equal them."""
        own = {(_place_of(name)[0], "weight") for name in initial}
        for name, weight in model.named_parameters():
            place = _place_of(name)
            if not weight.requires_grad and place in self._frozen and place not in own:
                weight.data = self._frozen[place].data

    def seat(self, seats: Sequence[Seat]) -> None:
        """Lay the parameters of these trials out in stacks, and forget those of all others."""
        keys = dict.fromkeys(key for seat in seats for key in seat.places)
        layers: dict[str, Any] = {path: self._layer(path) for path, _kind in keys}
        for layer in self._layers():
            layer.slots = len(seats)
            for kind in KINDS:
                if hasattr(layer, kind):
                    setattr(layer, kind, None)
        for path, kind in keys:
            setattr(layers[path], kind, _stack([seat.places.get((path, kind)) for seat in seats], kind))
            if kind == "lora_a":
                self._set_up_lora(path, layers[path], seats)

    def _set_up_lora(self, path: str, layer: PackedLinear, seats: Sequence[Seat]) -> None:
        like = layer.lora_a
        assert like is not None
        scales = [seat.scales.get(path, 0.0) for seat in seats]
        dropouts = [seat.dropouts.get(path, 0.0) for seat in seats]
        layer.scale = like.new_tensor(scales).view(-1, 1, 1).detach()
        if any(seat.initial for seat in seats):
            parts = {
                kind: [seat.initial.get((path, kind)) for seat in seats] for kind in ("lora_a", "lora_b")
            }
            layer.taken_a, layer.taken_b = (_filled(part, kind, like) for kind, part in parts.items())
        layer.dropout = like.new_tensor(dropouts).view(-1, 1, 1).detach() if any(dropouts) else None

    def _layers(self) -> list[PackedLinear | PackedNorm]:
        return [layer for layer in self.model.modules() if isinstance(layer, PackedLinear | PackedNorm)]

    def _layer(self, path: str) -> PackedLinear | PackedNorm:
        """Return the packed layer at a path; a frozen one that a trial has a LoRA on becomes one."""
        layer = self.model.get_submodule(path)
        if isinstance(layer, PackedLinear | PackedNorm):
            return layer
        packed = _packed(layer)
        self._put(path, packed)
        return packed

    def _put(self, path: str, layer: nn.Module) -> None:
        parent, _, name = path.rpartition(".")
        setattr(self.model.get_submodule(parent), name, layer)


def _packed(layer: nn.Module) -> PackedLinear | PackedNorm:
    if isinstance(layer, nn.Linear):
        return PackedLinear(layer)
    assert isinstance(layer, nn.LayerNorm), f"a {type(layer).__name__} isn't stacked"
    return PackedNorm(layer)


def reason_against(model: nn.Module) -> str:
    """Say why a model can't be packed, or nothing where it can.

    Args:
        model: prepared to train.
    """
    if inner_model(model).config.model_type == PLAIN:
        return "its model is a plain torch module, whose layers aren't known to treat rows apart"
    for path, layer in model.named_modules():
        if lora := lora_layer_of(layer):
            if not lora.is_plain:
                return f"its LoRA on {path} is of a kind that isn't stacked"
            continue
        own = [name for name, weight in layer.named_parameters(recurse=False) if weight.requires_grad]
        if own and not isinstance(layer, nn.Linear | nn.LayerNorm):
            return f"it trains {path}.{own[0]}, which isn't stacked"
    return ""


def likeness(model: nn.Module) -> tuple[Any, ...]:
    """Return what models must have in common, beside their frozen weights, to be packed together.

    LoRA may differ. The rest of what is trained is that of all, and so is what the code of a model reads.
    """
    base: Any = inner_model(model)
    trained = [(_place_of(name), p.shape) for name, p in model.named_parameters() if p.requires_grad]
    shared = frozenset((place, shape) for place, shape in trained if not place[1].startswith("lora_"))
    return type(model), type(base), base.config.to_json_string(), attention_of(base), base.dtype, shared


def _place_of(name: str) -> Place:
    """Return a parameter's layer and kind in a packed model."""
    path, _, kind = plain_name(name).rpartition(".")
    return lora_place(name) or (path, kind)


def _stack(parameters: Sequence[nn.Parameter | None], kind: str) -> Tensor:
    """Return a leaf of shape (slots, ...) whose parts the parameters now are, and whose gradient theirs."""
    own = [parameter for parameter in parameters if parameter is not None]
    shapes = [tuple(reversed(p.shape)) if kind == "lora_b" else tuple(p.shape) for p in own]
    largest = [max(sizes) for sizes in zip(*shapes, strict=True)]
    stack = own[0].new_zeros((len(parameters), *largest))
    gradient = torch.zeros_like(stack)
    for number, parameter in enumerate(parameters):
        if parameter is None:
            continue
        view, gradient_view = (_part(whole[number], parameter, kind) for whole in (stack, gradient))
        view.copy_(parameter.data)
        parameter.data, parameter.grad = view, gradient_view
    stack.requires_grad_().grad = gradient
    return stack


def _filled(parts: Sequence[Tensor | None], kind: str, like: Tensor) -> Tensor | None:
    """Return parts as a stack that nothing trains; None where there is none."""
    copies = [None if part is None else nn.Parameter(part.to(like)) for part in parts]
    return _stack(copies, kind).detach() if any(copy is not None for copy in copies) else None


def _part(whole: Tensor, parameter: Tensor, kind: str) -> Tensor:
    """Return the part of a slot's share of a stack that has a parameter's shape."""
    if kind == "lora_b":
        whole = whole.T
    return whole[tuple(slice(0, size) for size in parameter.shape)]


def _make_contiguous(_model: Any, state: dict[str, Any], _prefix: str, _metadata: Any) -> None:
    for name, tensor in state.items():
        if isinstance(tensor, Tensor):
            state[name] = tensor.contiguous()
