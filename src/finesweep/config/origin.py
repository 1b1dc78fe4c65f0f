"""Where a config's values come from."""

from __future__ import annotations

from dataclasses import dataclass, field

from finesweep.system.override_words import key_of

UNRESOLVED = object()  # a value that is missing, or whose interpolation failed


@dataclass(frozen=True)
class Origin:
    """Where a config's values come from, so that a message can name the file to open.

    Args:
        choices: the chosen option of each config group.
        overrides: the command line's `key=value` words.
        path: the file of a saved config, which has no groups.
        reads: the parts of a saved config that are used; all when empty.
        options: `--config-dir` and the folder, if that was given.
    """

    choices: dict[str, str] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    path: str = ""
    reads: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def of(self, key: str) -> str:
        """Name the source of a key: the command line, a group's file, or the primary config."""
        if any(key_of(override) == key for override in self.overrides):
            return "command line"
        if self.path:
            return self.path
        for package, name in self.choices.items():  # `tracker@tracker.wandb`: one of several of a group
            group, _, place = package.partition("@")
            if place and f"{key}.".startswith(f"{place}."):
                return f"conf/{group}/{name}.yaml"
        group = key.partition(".")[0]
        choice = self.choices.get(group)
        return f"conf/{group}/{choice}.yaml" if choice else "conf/train.yaml"
