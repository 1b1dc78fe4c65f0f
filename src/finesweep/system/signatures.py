"""What a config's `_target_` accepts: its arguments and their types, remembered between commands.

Importing peft or transformers takes seconds; a typing mistake should be answered at once. So the
signatures of installed libraries are kept in the cache folder, by the library's version.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import os
import sys
import tempfile
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Any

from finesweep.errors import nearest
from finesweep.system.places import cache_folder
from finesweep.system.renamed import target_now

_TYPE_NAMES: dict[Any, tuple[str, ...]] = {
    bool: ("bool",),
    int: ("int",),
    float: ("float", "int"),
    str: ("str",),
    Path: ("str",),
    type(None): ("null",),
    list: ("list",),
    tuple: ("list",),
    set: ("list",),
    dict: ("dict",),
}


@dataclass(frozen=True)
class Parameter:
    """One argument: whether it must be given, the value types it takes (none listed: any), its choices."""

    required: bool
    types: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    marker: str = ""


@dataclass(frozen=True)
class Signature:
    """The arguments of a target by name; `open` when it takes any keyword.

    `reserved` are those that it sets itself, with what to do instead.
    """

    parameters: dict[str, Parameter]
    open: bool = False
    reserved: Mapping[str, str] = field(default_factory=dict)


class TargetError(Exception):
    """A `_target_` that can't be located; the text says how far it was found."""


def forwards_to(
    target: str, *, reserved: Mapping[str, str], only: Collection[str] | None = None, others: str = ""
) -> Callable[[Any], Any]:
    """Declare that a callable hands its extra keywords to `target`.

    Args:
        target: dotted path.
        reserved: keywords of the target that are not for the user, with what to do instead.
        only: the keywords that it takes, when not all.
        others: what to say of the rest.
    """

    def mark(callable_: Any) -> Any:
        callable_.__forwards_to__ = (target, reserved, only, others)
        return callable_

    return mark


def signature_of(target: str) -> Signature:
    """Return what `target` accepts, from the cache when its library's version is known there.

    Raises:
        TargetError: no such target.
    """
    target = target_now(target)
    version = _library_version(target)
    cached = _read_cache().get(target) if version else None
    if cached and cached["version"] == version:
        parameters = {name: _parameter(fields) for name, fields in cached["parameters"].items()}
        return Signature(parameters, cached["open"])
    signature = _inspect(locate(target))
    if version:
        _write_cache(target, version, signature)
    return signature


def locate(target: str) -> Any:
    """Import the object that a dotted path names.

    Raises:
        TargetError: with the part that isn't there and the nearest name that is.
    """
    parts = target_now(target).split(".")
    for length in range(len(parts), 0, -1):
        module_name = ".".join(parts[:length])
        try:
            found: Any = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name and f"{module_name}.".startswith(f"{error.name}."):
                continue
            raise TargetError(
                f"`{module_name}` needs the package `{error.name}`, which isn't installed."
            ) from None
        for position, part in enumerate(parts[length:], start=length):
            if not hasattr(found, part):
                where = ".".join(parts[:position])
                raise TargetError(f"`{where}` has no `{part}`. {nearest(part, dir(found))}".strip())
            found = getattr(found, part)
        if not callable(found):
            raise TargetError(f"`{target}` is a {type(found).__name__}, which can't be called.")
        return found
    raise TargetError(f"There is no Python package `{parts[0]}`.")


def find_beside(targets: Iterable[str], folder: Path) -> None:
    """Make packages of a folder importable that are nowhere else, as `python train.py` does with its own.

    The folder comes last: what is installed is never hidden by what lies there.

    Args:
        targets: dotted paths that may be called.
        folder: where modules and packages of the user's own may lie.
    """
    names = {target_now(target).partition(".")[0] for target in targets}
    beside = [name for name in names if (folder / name).is_dir() or (folder / f"{name}.py").is_file()]
    if str(folder) not in sys.path and any(_holds_no_code(name) for name in beside):
        sys.path.append(str(folder))


def _holds_no_code(name: str) -> bool:
    """Tell whether a package is nowhere, or is a mere folder of this name, which any module goes before."""
    spec = importlib.util.find_spec(name)
    return spec is None or spec.origin is None


def _inspect(callable_: Any) -> Signature:
    try:
        parameters = inspect.signature(callable_).parameters
    except (TypeError, ValueError):  # some C functions have no signature
        return Signature({}, open=True)
    hints = _type_hints(callable_)
    named, takes_any = {}, False
    for name, parameter in parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_any = True
        elif parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            named[name] = _describe(hints.get(name, Any), required=parameter.default is parameter.empty)
    if hasattr(callable_, "__forwards_to__"):
        target, reserved, only, others = callable_.__forwards_to__
        forwarded = signature_of(target)
        if only is not None:
            left_out = (name for name in forwarded.parameters if name not in only and name not in named)
            reserved = {**dict.fromkeys(left_out, others), **reserved}
        reserved = {**forwarded.reserved, **reserved}
        extra = {name: p for name, p in forwarded.parameters.items() if name not in reserved}
        return Signature({**extra, **named}, forwarded.open, reserved)
    return Signature(named, takes_any)


def _type_hints(callable_: Any) -> dict[str, Any]:
    """Evaluate each annotation by itself; one that names what isn't importable here means any type."""
    function = callable_.__init__ if inspect.isclass(callable_) else callable_
    function = getattr(function, "__func__", function)
    names = getattr(inspect.unwrap(function), "__globals__", {})  # a decorator lies elsewhere
    hints = {}
    for name, hint in getattr(function, "__annotations__", {}).items():
        try:
            hints[name] = eval(hint, names) if isinstance(hint, str) else hint
        except (NameError, AttributeError, TypeError, SyntaxError):
            hints[name] = Any
    return hints


def _describe(hint: Any, *, required: bool) -> Parameter:
    names, choices = _accepted(hint)
    return Parameter(required, tuple(sorted(names or ())), choices, _marker(hint))


def _marker(hint: Any) -> str:
    """Return the text that finesweep annotates paths and hub names with, alone or in a union."""
    if typing.get_origin(hint) is typing.Annotated:
        return next((extra for extra in hint.__metadata__ if isinstance(extra, str)), "")
    members = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else ()
    return next((marker for marker in map(_marker, members) if marker), "")


def _accepted(hint: Any) -> tuple[set[str] | None, tuple[str, ...]]:
    """Return the value types (None: any) and the literal choices that an annotation admits."""
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return _accepted(typing.get_args(hint)[0])
    if origin in (typing.Union, types.UnionType):
        names: set[str] = set()
        choices: tuple[str, ...] = ()
        for member in typing.get_args(hint):
            member_names, member_choices = _accepted(member)
            if member_names is None:
                return None, ()
            names |= member_names
            choices += member_choices
        if choices and any(map(_is_enum, typing.get_args(hint))):
            names -= {"str"}  # `SchedulerType | str` takes the names of its members
        return names, choices if names <= {"choice", "null"} else ()
    if origin is typing.Literal:
        values = typing.get_args(hint)
        if all(isinstance(value, str) for value in values):
            return {"choice"}, values
        return None, ()
    if origin in (typing.Callable, Callable):
        return None, ()
    base = origin or hint
    if base in _TYPE_NAMES:
        return set(_TYPE_NAMES[base]), ()
    if inspect.isclass(base) and issubclass(base, Enum) and issubclass(base, str):
        return {"choice"}, tuple(str(member.value) for member in base)
    if inspect.isclass(base) and issubclass(base, Mapping):
        return {"dict"}, ()
    return None, ()


def _is_enum(hint: Any) -> bool:
    return inspect.isclass(hint) and issubclass(hint, Enum)


def _library_version(target: str) -> str | None:
    library = target.partition(".")[0]
    if library == "finesweep":
        return None
    try:
        return f"{metadata.version(library)} on {sys.version_info.major}.{sys.version_info.minor}"
    except metadata.PackageNotFoundError:
        return None


def _parameter(fields: dict[str, Any]) -> Parameter:
    return Parameter(fields["required"], tuple(fields["types"]), tuple(fields["choices"]), fields["marker"])


def _cache_file() -> Path:
    return cache_folder() / "signatures-2.json"


def _read_cache() -> dict[str, Any]:
    try:
        return json.loads(_cache_file().read_text())
    except (OSError, ValueError):  # no cache yet, or not ours to read: look the signature up
        return {}


def _write_cache(target: str, version: str, signature: Signature) -> None:
    content = {**_read_cache(), target: {"version": version, **asdict(signature)}}
    try:
        _cache_file().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=_cache_file().parent, delete=False) as file:
            json.dump(content, file)
        os.replace(file.name, _cache_file())
    except OSError:  # a cache that can't be written costs seconds, not correctness
        return
