"""What finesweep needs of Hydra that Hydra doesn't offer; tests/test_library_insides.py tests each.

All of it was read from hydra-core 1.3.8.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Sequence
from typing import Any

from omegaconf import DictConfig

# As Hydra's own config files name what launches and sweeps where nothing else was chosen.
BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


def read_options(words: Sequence[str]) -> argparse.Namespace:
    """Read a command line with the parser that hydra.main uses (_internal/utils.py); it has no other door."""
    from hydra._internal.utils import get_args_parser

    found, more = get_args_parser().parse_known_args(list(words))
    found.overrides += more  # its parser wants all of them in one piece
    return found


def initialise(folder: str, added: str | None) -> None:
    """Initialise Hydra with a folder of configs, and one in front of it.

    `hydra.initialize_config_dir` (initialize.py) does the same two calls, and takes one folder.
    """
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path

    search_path = create_config_search_path(folder)
    if added:
        search_path.prepend("command-line", f"file://{os.path.abspath(added)}")
    Hydra.create_main_hydra2("train", search_path)


def compose_as_main(name: str, overrides: list[str], *, multirun: bool) -> DictConfig:
    """Compose as hydra.main is about to (_internal/hydra.py); `hydra.compose` knows single runs only."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    mode = RunMode.MULTIRUN if multirun else RunMode.RUN
    return hydra.compose_config(name, overrides, mode, with_log_configuration=False)


def hide_choices(names: Collection[str]) -> None:
    """Leave files out of what Hydra lists, in its help and tab completion.

    It has no setting for it; the class that reads folders is in _internal/sources_registry.py.
    """
    from hydra._internal.sources_registry import SourcesRegistry
    from hydra.core.plugins import Plugins

    Plugins.instance()  # it is what registers them
    source: Any = SourcesRegistry.instance().resolve("file")
    if hasattr(source.list, "hides"):
        return
    listed = source.list

    def list_(self: Any, config_path: str, results_filter: Any) -> list[str]:
        return [name for name in listed(self, config_path, results_filter) if name not in names]

    list_.hides = names  # type: ignore[attr-defined]
    source.list = list_


def error_of(job: Any) -> BaseException:
    """Return the exception that a job ended with (JobReturn in core/utils.py).

    Its property `return_value` prints a line and raises it, with this place in the traceback.
    """
    return job._return_value  # type: ignore[no-any-return]
