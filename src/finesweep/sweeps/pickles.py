"""The pickles that Optuna's CMA-ES sampler keeps in a study: read as numbers, whoever wrote them."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from finesweep.errors import ConfigError, Fault
from finesweep.sweeps.optuna_insides import read_optimizers_with

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

# All that an optimizer's pickle names: its class, and arrays.
NAMES = {
    ("cmaes._cma", "CMA"),
    ("cmaes._sepcma", "SepCMA"),
    ("cmaes._cmawm", "CMAwM"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *(
        (f"numpy.{core}.multiarray", name)
        for core in ("core", "_core")
        for name in ("_reconstruct", "scalar")
    ),
}
OPTIMIZER = "optimizer:"


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Find what an optimizer consists of, and nothing else.

        Raises:
            ConfigError: anything else, which could run code.
        """
        if (module, name) in NAMES:
            return super().find_class(module, name)
        rule = "The study holds a CMA-ES state that would call what is no part of an optimizer."
        fix = "Whoever wrote it could run code here: don't go on with this study."
        raise ConfigError(Fault("study", rule, f"{module}.{name}", fix=fix))


def loads(content: bytes) -> Any:
    """Read an optimizer.

    Raises:
        ConfigError: it holds something else.
    """
    return _Unpickler(io.BytesIO(content)).load()


def guard_samplers() -> None:
    """Let Optuna read what it has pickled, and nothing else; calling it again changes nothing."""
    read_optimizers_with(loads)


def check_states(trials: Sequence[FrozenTrial]) -> None:
    """Refuse a study whose newest optimizer is none, before any worker meets it.

    Raises:
        ConfigError: it would call something.
    """
    for trial in reversed(trials):
        parts = {key: part for key, part in trial.system_attrs.items() if OPTIMIZER in key}
        if parts:
            names = sorted(parts, key=lambda key: int(key.rpartition(":")[2]))
            loads(bytes.fromhex("".join(parts[name] for name in names)))
            return
