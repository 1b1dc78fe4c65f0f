"""What a run was made from, in words that mean something on any machine: no path of this one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Literal

from finesweep.system.hub import looks_local
from finesweep.system.paths import PACKAGE_SCHEME
from finesweep.system.records import read_json

if TYPE_CHECKING:
    from finesweep.runs.saved import SavedRun

Kind = Literal["hub", "package", "folder", "random"]


@dataclass(frozen=True)
class Base:
    """The model that a run started from.

    Args:
        kind: where it is: on the Hub, in a Python package, in a folder of this machine; or nowhere, where its
            weights were random.
        name: as in the config.
        revision: the Hub's commit, where it is known.
    """

    kind: Kind
    name: str
    revision: str | None = None

    @classmethod
    def of(cls, run: SavedRun) -> Base:
        """Return the model that a run started from."""
        name = str(run.setting("model.name"))
        known = read_json(run.folder.provenance).get("fingerprints", {}).get("model", {})
        revision = run.setting("model.revision") or known.get("revision")
        if str(run.setting("model._target_")).endswith(".random_classifier"):
            return cls("random", name)
        if name.startswith(PACKAGE_SCHEME):
            return cls("package", name)
        return cls("folder", name) if looks_local(name) else cls("hub", name, revision)

    @property
    def title(self) -> str:
        """What a reader is told."""
        if self.kind == "hub":
            return f"{self.name}{f' at {self.revision}' if self.revision else ''}"
        if self.kind == "package":
            return f"The model in the Python package {self.distribution}"
        return "A model of random weights" if self.kind == "random" else PurePath(self.name).name

    @property
    def address(self) -> str:
        """What loads it: the name, or on this machine alone a folder's path."""
        return str(Path(self.name).expanduser().absolute()) if self.kind == "folder" else self.name

    @property
    def package(self) -> str:
        """The importable package that holds it."""
        return self.name.removeprefix(PACKAGE_SCHEME).partition("/")[0]

    @property
    def subfolder(self) -> str:
        """Where it is in that package."""
        return self.name.removeprefix(PACKAGE_SCHEME).partition("/")[2]

    @property
    def distribution(self) -> str:
        """What `pip install` calls that package."""
        from importlib.metadata import packages_distributions

        return packages_distributions().get(self.package, [self.package])[0]


def data_name(run: SavedRun) -> str:
    """Return what a run's data is called: its name on the Hub, or a file's without its folder."""
    source = run.setting("data.source", {})
    kind = str(source.get("_target_")).rpartition(".")[2]
    found = source.get("path") or source.get("train")
    found = found[0] if isinstance(found, list) and found else found
    if kind in ("sql", "python", "torch_dataset") or not isinstance(found, str):
        return kind
    if found.startswith(PACKAGE_SCHEME):
        return found.removeprefix(PACKAGE_SCHEME)
    if is_hub_data(run):
        return found
    return PurePath(found.partition("?")[0]).name or kind


def is_hub_data(run: SavedRun) -> bool:
    """Whether a run's data is a data set of the Hub."""
    source = run.setting("data.source", {})
    return str(source.get("_target_")).endswith(".hub") and not looks_local(str(source.get("path")))
