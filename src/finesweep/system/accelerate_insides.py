"""What finesweep needs of accelerate that it doesn't offer; tests/test_library_insides.py tests it."""

from __future__ import annotations

import os
from collections.abc import Sequence


def processes_asked_for(words: Sequence[str]) -> int:
    """Return how many processes the arguments of `accelerate launch` ask for, or its config file does.

    Read from accelerate 1.15.0, commands/launch.py and commands/config/config_args.py. It starts one on a
    CPU, and doesn't hand on how many it was asked for.
    """
    from accelerate.commands.config import default_config_file, load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    given = launch_command_parser().parse_args(words)
    has_file = given.config_file or (not given.cpu and os.path.isfile(default_config_file))
    if given.num_processes is None and has_file:
        return getattr(load_config_from_file(given.config_file), "num_processes", None) or 1
    return given.num_processes or 1
