"""The search space: axes in Hydra's override grammar, as Optuna distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    RangeSweep,
    Transformer,
)
from hydra.errors import HydraException
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial, create_trial

from finesweep.errors import ConfigError, Fault
from finesweep.system.override_words import quoted, read_word, read_words


@dataclass(frozen=True)
class Space:
    """What a study varies and what it holds fixed.

    Args:
        axes: override key -> distribution, in the order they were given.
        fixed: the command line's other overrides, as they were typed.
    """

    axes: dict[str, BaseDistribution]
    fixed: tuple[str, ...]

    def size(self) -> int | None:
        """Return the number of points, or None when an axis is continuous."""
        total = 1
        for axis in self.axes.values():
            count = _count(axis)
            if count is None:
                return None
            total *= count
        return total

    def points(self) -> list[dict[str, Any]]:
        """Return every point of a finite space, the last axis varying fastest.

        Raises:
            ConfigError: an axis is continuous.
        """
        points: list[dict[str, Any]] = [{}]
        for key, axis in self.axes.items():
            values = _values(axis)
            if values is None:
                rule = "A grid needs choices or a stepped range on every axis; this one is continuous."
                raise ConfigError(Fault(key, rule, fix=f"Write {key}=a,b,c or {key}=range(...)."))
            points = [{**point, key: value} for point in points for value in values]
        return points

    def describe(self) -> dict[str, str]:
        """Return each axis as text, for the manifest."""
        return {key: str(axis) for key, axis in self.axes.items()}


def read_space(arguments: Sequence[str], params: Mapping[str, Any] | None) -> Space:
    """Read the axes of a sweep.

    Args:
        arguments: the command line's overrides; those with several values are axes.
        params: axes from a config file: key -> text in Hydra's grammar, a list of choices, or a
            mapping with `type`, `low`, `high`, `log`, `step` or `choices` as the official Optuna
            sweeper has it. An axis on the command line takes the place of one with the same key.

    Raises:
        ConfigError: an axis that can't be read, or whose bounds are the wrong way round.
    """
    axes: dict[str, BaseDistribution] = {}
    faults: list[Fault] = []
    fixed: list[str] = []
    for key, value in (params or {}).items():
        _add(axes, faults, str(key), lambda key=key, value=value: _from_config(str(key), value))
    for override in read_words(arguments):
        key = override.get_key_element()
        if override.is_sweep_override():
            _add(axes, faults, key, lambda override=override: _from_override(override))
        else:
            axes.pop(key.lstrip("+"), None)  # a value given on the command line is not searched
            fixed.append(override.input_line or "")
    if faults:
        raise ConfigError(*faults)
    return Space(axes, tuple(fixed))


def to_override(key: str, value: Any) -> str:
    """Return the override that sets an axis to a value.

    Texts in a distribution are already in the override grammar (quotes included).
    """
    text = (
        {True: "true", False: "false", None: "null"}.get(value)
        if value is None or isinstance(value, bool)
        else None
    )
    return f"{key}={text if text is not None else value}"


def value_on(axis: BaseDistribution, value: Any) -> Any:
    """Return a config's value as an axis has it: a list among choices is its text, for example.

    Raises:
        ValueError: the axis doesn't have this value.
    """
    if isinstance(axis, CategoricalDistribution):
        for choice in axis.choices:
            own = _parsed(choice) if isinstance(choice, str) else choice
            if own == value and isinstance(own, bool) == isinstance(value, bool):
                return choice
        raise ValueError
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError
    try:
        create_trial(value=0.0, params={"": value}, distributions={"": axis})  # which checks it
    except ValueError:
        raise ValueError from None
    return value


def suggest(trial: Trial, name: str, axis: BaseDistribution) -> None:
    """Let a trial's sampler choose its value on an axis."""
    if isinstance(axis, CategoricalDistribution):
        trial.suggest_categorical(name, axis.choices)
    elif isinstance(axis, IntDistribution):
        trial.suggest_int(name, axis.low, axis.high, step=axis.step, log=axis.log)
    else:
        assert isinstance(axis, FloatDistribution)
        trial.suggest_float(name, axis.low, axis.high, step=axis.step, log=axis.log)


def _parsed(text: str) -> Any:
    return read_word(f"key={text}").value()


def _add(axes: dict[str, BaseDistribution], faults: list[Fault], key: str, read: Any) -> None:
    try:
        axes[key] = read()
    except (ValueError, HydraException) as error:
        fix = (
            "Examples: a,b,c  range(1,9)  interval(0,0.3)  tag(log,interval(1e-5,1e-3))  int(interval(1,64))"
        )
        faults.append(Fault(key, f"The axis can't be used: {str(error).splitlines()[0]}", fix=fix))


def _from_config(key: str, value: Any) -> BaseDistribution:
    if isinstance(value, Mapping):
        return _from_mapping(value)
    if isinstance(value, list | tuple):
        return CategoricalDistribution([_plain(item) for item in value])
    override = read_word(f"{key}={value}")
    if not override.is_sweep_override():
        raise ValueError(f"`{value}` is a single value, not an axis.")
    return _from_override(override)


def _from_mapping(value: Mapping[str, Any]) -> BaseDistribution:
    kind = value.get("type")
    bounds = {name: value[name] for name in ("low", "high", "log", "step") if value.get(name) is not None}
    if kind == "categorical":
        return CategoricalDistribution([_plain(item) for item in value["choices"]])
    if kind == "int":
        _check_bounds(bounds["low"], bounds["high"])
        return IntDistribution(**bounds)
    if kind == "float":
        _check_bounds(bounds["low"], bounds["high"])
        return FloatDistribution(**bounds)
    raise ValueError(f"`type` must be categorical, int or float, but got {kind!r}.")


def _from_override(override: Override) -> BaseDistribution:
    sweep = override.value()
    if isinstance(sweep, IntervalSweep):
        low, high = sweep.start, sweep.end
        assert low is not None
        assert high is not None
        _check_bounds(low, high)
        log = "log" in sweep.tags
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=log)
        return FloatDistribution(float(low), float(high), log=log)
    if isinstance(sweep, RangeSweep):
        values = [_plain(value) for value in override.sweep_iterator()]
        return _stepped(values, sweep.step, log="log" in sweep.tags)
    assert isinstance(sweep, ChoiceSweep), f"{override.input_line} is no axis"
    return CategoricalDistribution([_plain(value) for value in sweep.list])


def _stepped(values: list[Any], step: float, *, log: bool) -> BaseDistribution:
    if not values:
        raise ValueError("the range is empty: `start < stop` must hold.")
    if log or len(values) == 1:
        return CategoricalDistribution(values)
    if all(isinstance(value, int) for value in values):
        return IntDistribution(min(values), max(values), step=abs(int(step)))
    low, high = sorted((values[0], steps_up(values[0], step, len(values) - 1)))
    return FloatDistribution(low, high, step=abs(step))


def steps_up(low: float, step: float, count: int) -> float:
    """Add decimals as they were typed: 0.1 + 2 * 0.1 is 0.3."""
    return float(Decimal(str(low)) + count * Decimal(str(step)))


def _plain(value: Any) -> Any:
    """Keep numbers, bools and null as they are; anything else becomes its text in the override grammar."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value if _is_bare(value) else quoted(value)
    return Transformer.encode(value)


def _is_bare(text: str) -> bool:
    """Whether the grammar reads a text as itself without quotes; not `a, b`, `a=b`, `{a}`, `null`, `café`."""
    try:
        return _parsed(text) == text
    except HydraException:
        return False


def _check_bounds(low: float, high: float) -> None:
    if low > high:
        raise ValueError(f"`low <= high` must hold, but got (low={low}, high={high}).")


def _count(axis: BaseDistribution) -> int | None:
    """Return how many values an axis has, without making them: of a wide one there are millions."""
    if isinstance(axis, CategoricalDistribution):
        return len(axis.choices)
    if isinstance(axis, IntDistribution) and not axis.log:
        return (axis.high - axis.low) // axis.step + 1
    if isinstance(axis, FloatDistribution) and axis.step is not None:
        return round((axis.high - axis.low) / axis.step) + 1
    return None


def _values(axis: BaseDistribution) -> list[Any] | None:
    count = _count(axis)
    if count is None:
        return None
    if isinstance(axis, CategoricalDistribution):
        return list(axis.choices)
    if isinstance(axis, IntDistribution):
        return [axis.low + i * axis.step for i in range(count)]
    assert isinstance(axis, FloatDistribution)
    assert axis.step is not None
    return [steps_up(axis.low, axis.step, i) for i in range(count)]
