"""A head that comes with a checkpoint: its rows belong to the labels that it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finesweep.data.labels import REGRESSION, LabelSchema
from finesweep.data.spelling import normalized
from finesweep.models.transformers_insides import draw_anew

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

NUMBERED = "label_"  # how transformers calls a label without a name, before its number


@dataclass(frozen=True)
class PretrainedHead:
    """What became of a checkpoint's head.

    Args:
        fresh: names of parameters that start afresh now.
        kept: name of the module that was kept; empty where there was none to keep.
        note: what was done, for people.
    """

    fresh: tuple[str, ...] = ()
    kept: str = ""
    note: str = ""


def settle(
    model: PreTrainedModel, names: Mapping[int, str], schema: LabelSchema, missing: set[str]
) -> PretrainedHead:
    """Put the rows of a pretrained head into the schema's order, or let it start afresh.

    Args:
        model: is changed in place.
        names: the checkpoint's own label names, by row.
        schema: the labels of the data.
        missing: parameters that the checkpoint lacked, or had in another shape.
    """
    found = _output_layer(model, len(schema.names))
    if found is None:
        return PretrainedHead()
    name, layer = found
    parameters = {f"{name}.{key}": value for key, value in layer.named_parameters()}
    if missing & parameters.keys():
        return PretrainedHead()
    if schema.problem_type == REGRESSION:
        return PretrainedHead(kept=name, note="the head is the checkpoint's")
    own = [names.get(row, "") for row in range(len(schema.names))]
    rows = _rows(own, schema)
    if rows is None:
        draw_anew(model, layer)
        shown = ", ".join(own[:5]) + ", ..." * (len(own) > 5)
        return PretrainedHead(
            fresh=tuple(parameters), note=f"the head starts afresh: its labels were {shown}"
        )
    if rows == list(range(len(rows))):
        return PretrainedHead(kept=name, note="the head is the checkpoint's, whose labels are the same")
    for value in parameters.values():
        value.data.copy_(value.data[rows].clone())
    return PretrainedHead(
        kept=name, note="the head is the checkpoint's, its rows in the order of these labels"
    )


def fresh_modules(model: PreTrainedModel, fresh_parameters: set[str]) -> tuple[str, ...]:
    """Return the largest modules that hold nothing but newly initialised parameters."""
    found: list[str] = []
    for name, module in model.named_modules():
        parameters = [f"{name}.{parameter}" for parameter, _ in module.named_parameters()]
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if name and not inside and parameters and fresh_parameters.issuperset(parameters):
            found.append(name)
    covered = [
        parameter for parameter in fresh_parameters if parameter.startswith(tuple(f"{m}." for m in found))
    ]
    assert len(covered) == len(fresh_parameters), "a fresh parameter outside every fresh module"
    return tuple(found)


def _rows(own: list[str], schema: LabelSchema) -> list[int] | None:
    """Return which row of the head is each label's; None: they are other labels."""
    if all(normalized(name) == f"{NUMBERED}{row}" for row, name in enumerate(own)):
        own = [str(row) for row in range(len(own))]
    for spelled in (str, normalized):
        places = {spelled(name): row for row, name in enumerate(own)}
        wanted = [spelled(name) for name in schema.names]
        if len(places) == len(set(wanted)) == len(own) and places.keys() == set(wanted):
            return [places[name] for name in wanted]
    return None


def _output_layer(model: PreTrainedModel, num_labels: int) -> tuple[str, nn.Linear] | None:
    """Return the last linear layer outside the backbone that gives a number for each label."""
    from torch import nn

    inside = f"{model.base_model_prefix}."
    found = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == num_labels and not name.startswith(inside)
    ]
    return found[-1] if found else None
