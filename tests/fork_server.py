"""The process that forked.py starts: it imports what finesweep stands on, and forks for each command."""

from __future__ import annotations

import gc
import importlib.abc
import importlib.util
import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from forked import LENGTH, Command, Popen, Server, receive

# The first are there from the beginning, since a start is quick with them. Of the others each group comes as
# one, as soon as one of it is imported: whether torch has been imported decides some things.
QUICK = ("hydra.main", "optuna", "psutil", "rich.progress")
GROUPS = (
    ("scipy.stats", "sklearn.metrics"),
    ("torch", "datasets", "transformers", "peft", "accelerate", "evaluate", "pyarrow.csv", "pyarrow.parquet",
     "transformers.trainer", "transformers.models.bert.modeling_bert", "transformers.conversion_mapping"),
)  # fmt: skip
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PLACES = sys.path[1:]


class Later(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Modules that are loaded, and seem not to be until the first of them is imported."""

    def __init__(self) -> None:
        self._before, self._hidden = {*sys.modules}, {}

    def hide(self) -> None:
        """Take away what was imported since this was made."""
        self._hidden = {name: module for name, module in sys.modules.items() if name not in self._before}
        for name in self._hidden:
            del sys.modules[name]
        sys.meta_path.insert(0, self)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Answer for those that are hidden."""
        return ModuleSpec(name, self) if name in self._hidden else None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        """Return the one that is there, with the specification that it has."""
        module = self._hidden[spec.name]
        self._spec = module.__spec__
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Show all of them."""
        module.__spec__ = self._spec
        sys.modules.update(self._hidden)
        self._hidden = {}
        _renew_streams_of_handlers()


def main(connection: socket.socket) -> types.CodeType:
    """Serve; return in a forked process, with the code that it should run as its main module."""
    for name in QUICK:
        importlib.import_module(name)
    groups = []
    for names in GROUPS:
        groups.append(Later())
        for name in names:
            importlib.import_module(name)
    # Made once in a process, for all models.
    sys.modules["transformers.conversion_mapping"].get_checkpoint_conversion_mapping("bert")
    set_threads = sys.modules["torch"].set_num_threads
    for group in reversed(groups):
        group.hide()
    for number in STOPS:  # meant for the commands, and for whoever started them
        signal.signal(number, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    command, streams = serve(connection)
    become(command, streams)
    if "OMP_NUM_THREADS" in command.environment:
        set_threads(int(command.environment["OMP_NUM_THREADS"].partition(",")[0]))
    return main_module(command)


def serve(connection: socket.socket) -> tuple[Command, list[int]]:
    """Fork for each command that comes in; return in a forked process, with what it should become."""
    while True:
        try:
            length, streams, *_ = socket.recv_fds(connection, LENGTH, 3)
            command = Command(**json.loads(receive(connection, int.from_bytes(length, "big"))))
        except (ConnectionError, json.JSONDecodeError):  # whoever might ask is gone
            os._exit(0)
        if not _is_adopted(command.parent):
            _close(streams)
            continue
        if command.new_session:
            os.setsid()
        ours, theirs = socket.socketpair()
        if os.fork() == 0:  # the server of what this command starts, which is as new as this one
            _close(streams)
            ours.close()
            connection.close()
            connection = theirs
            continue
        theirs.close()
        Popen.server = Server(dict(os.environ), ours)
        subprocess.Popen = Popen
        connection.sendall(os.getpid().to_bytes(LENGTH, "big"))
        connection.close()
        return command, streams


def _is_adopted(parent: int) -> bool:
    """Fork a child of another process; say whether this is it.

    The process between the two ends at once, so that its child goes to whoever adopts (forked.py).
    """
    between = os.fork()
    if between:
        os.waitpid(between, 0)
        return False
    between = os.getpid()
    if os.fork():
        os._exit(0)
    while os.getppid() == between:
        time.sleep(0.0002)
    if os.getppid() != parent:  # it has ended
        os._exit(0)
    return True


def _close(streams: list[int]) -> None:
    for stream in streams:
        os.close(stream)


def become(command: Command, streams: list[int]) -> None:
    """Take over what a process of its own would begin with."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    _open_streams()
    os.environ.clear()
    os.environ.update(command.environment)
    os.chdir(command.folder)
    for number in STOPS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in command.ignored:
        signal.signal(number, signal.SIG_IGN)


def _open_streams() -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        before = getattr(sys, name)
        stream = io.TextIOWrapper(
            _buffer(number, before.write_through),
            encoding=before.encoding,
            errors=before.errors,
            line_buffering=not before.write_through and (number == 2 or os.isatty(number)),
            write_through=before.write_through,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _buffer(number: int, is_unbuffered: bool) -> Any:
    """Return what is below a text stream; nothing is kept back with PYTHONUNBUFFERED."""
    raw = io.FileIO(number, "w" if number else "r", closefd=False)
    if number == 0:
        return io.BufferedReader(raw)
    return raw if is_unbuffered else io.BufferedWriter(raw)


def _renew_streams_of_handlers() -> None:
    """Let handlers of logs that were made while importing have the streams that they would have found now."""
    for logger in map(logging.getLogger, logging.root.manager.loggerDict):
        for handler in logger.handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                handler.setStream(sys.stderr)


def main_module(command: Command) -> types.CodeType:
    """Make way for a command's main module, and return its code."""
    words, variables = command.words, command.environment
    rest = words[1:] if words[0] == sys.executable else words
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    sys.orig_argv = [sys.executable, *rest]
    places = [place for place in variables.get("PYTHONPATH", "").split(os.pathsep) if place]
    is_module = rest[0] == "-m"
    if not variables.get("PYTHONSAFEPATH"):
        places.insert(0, command.folder if is_module else os.path.dirname(os.path.abspath(rest[0])))
    sys.path[:] = [*places, *(place for place in PLACES if place not in places)]
    importlib.invalidate_caches()
    if any(os.path.exists(os.path.join(place, "sitecustomize.py")) for place in places):
        sys.modules.pop("sitecustomize", None)
        importlib.import_module("sitecustomize")
    if not is_module:
        sys.argv = rest
        module.__file__ = rest[0]
        return compile(Path(rest[0]).read_bytes(), rest[0], "exec")
    name = "finesweep.__main__" if rest[1] == "finesweep" else rest[1]
    spec = importlib.util.find_spec(name)
    assert spec
    assert spec.origin
    sys.argv = [spec.origin, *rest[2:]]
    module.__spec__, module.__file__, module.__package__ = spec, spec.origin, spec.parent
    return spec.loader.get_code(name)


if __name__ == "__main__":
    code = main(socket.socket(fileno=int(sys.argv[1])))
    exec(code, sys.modules["__main__"].__dict__)
