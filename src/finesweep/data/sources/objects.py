"""Rows from a user's own code: a torch data set or a function."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from finesweep.data.convert import as_splits
from finesweep.errors import DataError, Fault, nearest
from finesweep.system.foreign import calling
from finesweep.system.paths import PythonFunction, input_path
from finesweep.system.signatures import TargetError, locate

if TYPE_CHECKING:
    from datasets import DatasetDict


def torch_dataset(train: Any, validation: Any = None, test: Any = None) -> DatasetDict:
    """Read map-style torch data sets whose items are dicts of column name to value.

    Args:
        train: a data set; in a config, a node with its `_target_` and arguments.
        validation: as train.
        test: as train.

    Raises:
        DataError: a stream, an item that is no dict, a column of mixed types.
    """
    from datasets import DatasetDict

    with calling("data.source", type(train).__name__):
        return DatasetDict(as_splits({"train": train, "validation": validation, "test": test}).items())


def python(function: PythonFunction, **arguments: Any) -> DatasetDict:
    """Call a function that returns rows: anything that `finesweep.data.convert.as_splits` takes.

    Args:
        function: `my_package.my_function`, or `my_file.py:my_function`.
        **arguments: passed to it.

    Raises:
        DataError: no such function, or rows that can't be used.
        ForeignError: it raised.
    """
    from datasets import DatasetDict

    file, colon, name = function.rpartition(":")
    called = _from_file(file, name) if colon else _from_package(function)
    with calling("data.source.function", function):
        return DatasetDict(as_splits(called(**arguments)).items())


def _from_package(path: str) -> Any:
    try:
        return locate(path)
    except TargetError as error:
        fix = "For a file that is no package: my_file.py:my_function."
        raise DataError(Fault("data.source.function", str(error), path, fix=fix)) from error


def _from_file(path: str, name: str) -> Any:
    module = _module(input_path(path))
    found = getattr(module, name, None)
    if not callable(found):
        valid = tuple(key for key, value in vars(module).items() if callable(value) and key[0] != "_")
        rule = f"{path} has no function of this name. {nearest(name, valid)}".strip()
        raise DataError(Fault("data.source.function", rule, name, valid=valid))
    return found


def _module(file: Path) -> ModuleType:
    """Import a file under a name of its own, once."""
    name = f"finesweep_source_{file.stem}"
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__file__ == str(file.resolve()):
        return loaded
    spec = importlib.util.spec_from_file_location(name, file.resolve())
    if spec is None or spec.loader is None:
        rule = "It is no Python file."
        raise DataError(Fault("data.source.function", rule, file, fix="Use my_file.py:my_function."))
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        with calling("data.source.function", str(file)):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]  # half of it, which a second try would take for all
        raise
    return module
