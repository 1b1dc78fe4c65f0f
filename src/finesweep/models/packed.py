"""Several trials' models as one: a frozen backbone that they share, and their own weights in stacks.

A batch holds the rows of all slots, one slot's after the other's. What is frozen treats them as one large
batch; a layer that is trained, or has a LoRA beside it, multiplies each slot's rows with that slot's own
weights (`torch.bmm`). These lie in stacks (models/stacks.py), of which a trial's parameters are views: its
optimizer and its checkpoints work on them as if it were alone. Ranks below the largest are filled up with
zeros, which stay zero. A slot that nobody has keeps what was in it, and nobody reads what comes of it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from finesweep.models.classifier import PLAIN, inner_model
from finesweep.models.packed_layers import KINDS, PackedLinear, PackedNorm, packed_layer
from finesweep.models.peft_insides import lora_layer_of, lora_place, plain_name, trained_copy_of
from finesweep.models.stacks import LORA_B, Place, Stacks
from finesweep.models.transformers_insides import attention_of


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
                self._put(path, packed_layer(layer))
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

    def seat(self, seats: Sequence[Seat], slots: int) -> Stacks:
        """Lay the parameters of these trials out in stacks, in slots 0, 1, ..., and forget all others."""
        self.stacks = Stacks([seat.places for seat in seats], slots)
        layers: dict[str, Any] = {path: self._layer(path) for path, _kind in self.stacks.shapes}
        for layer in self._layers():
            layer.slots = slots
            for kind in KINDS:
                if hasattr(layer, kind):
                    setattr(layer, kind, None)
        for slot, seat in enumerate(seats):
            self.stacks.put(slot, seat.places)
        for path, kind in self.stacks.shapes:
            setattr(layers[path], kind, self.stacks.leaves[path, kind])
            if kind == "lora_a":
                self._set_up_lora(path, layers[path], seats)
        return self.stacks

    def has_room_for(self, seat: Seat) -> bool:
        """Say whether a trial can take a free slot of the stacks as they are."""
        if seat.initial or not self.stacks.has_room_for(seat.places):
            return False
        for path, layer in self._loras():
            is_free = isinstance(layer.dropout, Tensor) or path not in seat.dropouts
            if layer.taken_a is not None or not (is_free or layer.dropout == (seat.dropouts[path] or None)):
                return False
        return True

    def put(self, slot: int, seat: Seat) -> None:
        """Give a trial a slot; whose it was has left."""
        self.stacks.put(slot, seat.places)
        for path, layer in self._loras():
            assert layer.scale is not None
            layer.scale[slot] = seat.scales.get(path, 0.0)
            if isinstance(layer.dropout, Tensor):
                layer.dropout[slot] = seat.dropouts.get(path, 0.0)

    @contextmanager
    def only(self, slots: Sequence[int]) -> Iterator[None]:
        """Have nothing but these slots, in this order, for a pass that nothing is trained by."""
        chosen = torch.tensor(slots, device=self.stacks.weights.device)
        layers = self._layers()
        whole = [{kind: getattr(layer, kind) for kind in KINDS if hasattr(layer, kind)} for layer in layers]
        try:
            for layer, stacks in zip(layers, whole, strict=True):
                layer.slots = len(slots)
                for kind, stack in stacks.items():
                    if isinstance(stack, Tensor):
                        setattr(layer, kind, stack.detach().index_select(0, chosen))
            yield
        finally:
            for layer, stacks in zip(layers, whole, strict=True):
                layer.slots = len(self.stacks.weights)
                for kind, stack in stacks.items():
                    setattr(layer, kind, stack)

    def _set_up_lora(self, path: str, layer: PackedLinear, seats: Sequence[Seat]) -> None:
        like = layer.lora_a
        assert like is not None
        free = [0.0] * (len(like) - len(seats))
        scales = [seat.scales.get(path, 0.0) for seat in seats] + free
        layer.scale = like.new_tensor(scales).view(-1, 1, 1).detach()
        if any(seat.initial for seat in seats):
            parts = {
                kind: [seat.initial.get((path, kind)) for seat in seats] for kind in ("lora_a", "lora_b")
            }
            layer.taken_a, layer.taken_b = (
                _filled(part, kind, self.stacks.of(self.stacks.weights, (path, kind)))
                for kind, part in parts.items()
            )
        rates = [seat.dropouts[path] for seat in seats if path in seat.dropouts]
        if len(set(rates)) == 1:
            layer.dropout = rates[0] or None
        else:
            dropouts = [seat.dropouts.get(path, 0.0) for seat in seats] + free
            layer.dropout = like.new_tensor(dropouts).view(-1, 1, 1).detach()

    def _loras(self) -> list[tuple[str, PackedLinear]]:
        return [
            (path, layer)
            for path, layer in self.model.named_modules()
            if isinstance(layer, PackedLinear) and layer.lora_a is not None
        ]

    def _layers(self) -> list[PackedLinear | PackedNorm]:
        return [layer for layer in self.model.modules() if isinstance(layer, PackedLinear | PackedNorm)]

    def _layer(self, path: str) -> PackedLinear | PackedNorm:
        """Return the packed layer at a path; a frozen one that a trial has a LoRA on becomes one."""
        layer = self.model.get_submodule(path)
        if isinstance(layer, PackedLinear | PackedNorm):
            return layer
        packed = packed_layer(layer)
        self._put(path, packed)
        return packed

    def _put(self, path: str, layer: nn.Module) -> None:
        parent, _, name = path.rpartition(".")
        setattr(self.model.get_submodule(parent), name, layer)


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


def _filled(parts: Sequence[Tensor | None], kind: str, stack: Tensor) -> Tensor | None:
    """Return parts as a stack like a given one, which nothing trains; None where there is none."""
    if all(part is None for part in parts):
        return None
    found = torch.zeros_like(stack)
    for slot, part in enumerate(parts):
        if part is not None:
            own = part.T if kind == LORA_B else part
            found[slot][tuple(map(slice, own.shape))] = own
    return found


def _make_contiguous(_model: Any, state: dict[str, Any], _prefix: str, _metadata: Any) -> None:
    for name, tensor in state.items():
        if isinstance(tensor, Tensor):
            state[name] = tensor.contiguous()
