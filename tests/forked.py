"""Start finesweep's commands without importing everything anew.

`python train.py` spends 8 of its 10 s with importing torch, transformers and what else it stands on, and a test of
a sweep starts several. So a server, a child of the process that starts commands, imports that once and forks for
each command. What comes out of it is a child of whoever asked, with arguments, environment, folder, session, signals
and streams of its own: its number, how it ends and who is told of it are real. Nothing of finesweep's is imported
beforehand. Each command has a server of its own for what it starts in turn, such as a sweep's workers.

What it can't do is started as ever: `python -c`, options of the interpreter, `preexec_fn`, and an environment that
differs in what is read while importing. The
fixture `real_starts` does that for one test, `pytest --real-starts` for all.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib.abc
import importlib.util
import inspect
import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from dataclasses import asdict, dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

FINESWEEP = str(Path(sys.executable).with_name("finesweep"))
# Those of the first line are there from the beginning, as a start is quick with them. The others come as one, as soon
# as one of them is imported: whether torch has been imported decides some things.
QUICK = ("hydra.main", "optuna", "psutil", "rich.progress")
SLOW = (
    ("scipy.stats", "sklearn.metrics"),
    ("torch", "datasets", "transformers", "peft", "accelerate", "evaluate", "pyarrow.csv", "pyarrow.parquet",
     "transformers.trainer", "transformers.models.bert.modeling_bert", "transformers.conversion_mapping"),
)  # fmt: skip
# Of these the interpreter and the libraries read some while they are imported.
READ_EARLY = ("PYTHON", "LANG", "LC_", "HF_", "TRANSFORMERS_", "TORCH_", "CUDA", "MKL_", "COVERAGE", "MPL")
MADE_UP_FOR = ("PYTHONPATH", "PYTHONSAFEPATH")
PR_SET_CHILD_SUBREAPER = 36
LENGTH = 8
REAL = subprocess.Popen
DEFAULTS = {
    "executable": None,
    "preexec_fn": None,
    "close_fds": True,
    "pass_fds": (),
    "shell": False,
    "gid": None,
    "gids": None,
    "uid": None,
    "umask": -1,
    "process_group": -1,
}


@dataclass(frozen=True)
class Command:
    """What a process should become.

    Args:
        words: the command line, the interpreter first.
        folder: where it works.
        environment: all its variables.
        parent: the process that asks.
        new_session: whether it leads a session of its own.
        ignored: the signals that it begins by ignoring.
    """

    words: list[str]
    folder: str
    environment: dict[str, str]
    parent: int
    new_session: bool
    ignored: list[int]


class Server:
    """A process that has imported what finesweep stands on, seen from its parent.

    Args:
        environment: what it begins with.
        connection: where it listens, if it runs already.
    """

    def __init__(self, environment: dict[str, str], connection: socket.socket | None = None) -> None:
        self._environment, self._connection = environment, connection
        self._one_at_a_time = threading.Lock()

    def takes(self, words: Any, environment: dict[str, str], given: dict[str, Any]) -> bool:
        """Say whether what comes out would be the same as from a start of its own."""
        if any(given.get(name, value) != value for name, value in DEFAULTS.items()):
            return False
        if isinstance(words, str | bytes) or not _is_known([*map(os.fsdecode, words)]):
            return False
        return _read_early(environment) == _read_early(self._environment)

    def start(self, command: Command, streams: list[int]) -> int:
        """Have a child of this process become a command, and return its number."""
        message = json.dumps(asdict(command)).encode()
        with self._one_at_a_time, _adopting():
            connection = self._connection = self._connection or self._begin()
            socket.send_fds(connection, [len(message).to_bytes(LENGTH, "big")], streams)
            connection.sendall(message)
            return int.from_bytes(_receive(connection, LENGTH), "big")

    def _begin(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        command = [sys.executable, __file__, str(theirs.fileno())]
        self._process = REAL(
            command, env=self._environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
        )
        theirs.close()
        return ours


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


class Popen(REAL):
    """A process, forked from the server where that makes no difference but of time."""

    server: Server | None = None
    options = inspect.signature(subprocess.Popen._execute_child)

    def _execute_child(self, *positional: Any) -> None:
        given = Popen.options.bind(self, *positional).arguments
        environment = dict(os.environ if given["env"] is None else given["env"])
        if Popen.server is None or not Popen.server.takes(given["args"], environment, given):
            super()._execute_child(*positional)
            return
        pipes = [given[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")]
        ignored = [number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN]
        command = Command(
            words=[*map(os.fsdecode, given["args"])],
            folder=os.path.abspath(os.fsdecode(given["cwd"] or ".")),
            environment=environment,
            parent=os.getpid(),
            new_session=bool(given["start_new_session"]),
            ignored=[*({*ignored} - {signal.SIGPIPE, signal.SIGXFSZ})],
        )
        streams = [own if own != -1 else number for number, own in enumerate((pipes[0], pipes[3], pipes[5]))]
        self.pid = Popen.server.start(command, streams)
        self._child_created = True
        self._close_pipe_fds(*pipes)


def install(environment: dict[str, str]) -> None:
    """Serve all that this process starts from now on; the server begins with the first.

    Args:
        environment: the server's.
    """
    Popen.server = Server(environment)
    subprocess.Popen = Popen


def _is_known(words: list[str]) -> bool:
    """Say whether a command is a script, a module of finesweep's, or `finesweep`."""
    program, *rest = words
    if program == FINESWEEP:
        return True
    is_module = rest[:1] == ["-m"] and rest[1].partition(".")[0] == "finesweep"
    return program == sys.executable and (is_module or rest[0].endswith(".py"))


def _read_early(environment: dict[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(READ_EARLY) and name not in MADE_UP_FOR
    }


@contextlib.contextmanager
def _adopting():
    """Become the parent of those whose parent ends."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0)


def _receive(connection: socket.socket, length: int) -> bytes:
    """Return so many bytes; end this process where nobody sends any more."""
    parts = b""
    while len(parts) < length:
        part = connection.recv(length - len(parts))
        if not part:
            raise ConnectionError("The other process has ended.")
        parts += part
    return parts


# What follows runs in the server.


def serve(connection: socket.socket) -> tuple[Command, list[int]]:
    """Fork for each command that comes in; return in a forked process, with what it should become."""
    while True:
        try:
            length, streams, *_ = socket.recv_fds(connection, LENGTH, 3)
            command = Command(**json.loads(_receive(connection, int.from_bytes(length, "big"))))
        except (ConnectionError, json.JSONDecodeError):  # whoever might ask is gone
            os._exit(0)
        between = os.fork()
        if between:
            os.waitpid(between, 0)
            for stream in streams:
                os.close(stream)
            continue
        if os.fork():
            os._exit(0)  # so that whoever asked adopts the child
        while os.getppid() != command.parent:
            time.sleep(0.0002)
        if command.new_session:
            os.setsid()
        ours, theirs = socket.socketpair()
        if os.fork() == 0:
            for stream in streams:
                os.close(stream)
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


def become(command: Command, streams: list[int]) -> None:
    """Take over what a process of its own would begin with."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    _open_streams()
    os.environ.clear()
    os.environ.update(command.environment)
    os.chdir(command.folder)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in command.ignored:
        signal.signal(number, signal.SIG_IGN)
    if "OMP_NUM_THREADS" in command.environment:
        set_threads(int(command.environment["OMP_NUM_THREADS"].partition(",")[0]))


def _open_streams() -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        before = getattr(sys, name)
        raw = io.FileIO(number, "w" if number else "r", closefd=False)
        stream = io.TextIOWrapper(
            io.BufferedWriter(raw) if number else io.BufferedReader(raw),
            encoding=before.encoding,
            errors=before.errors,
            line_buffering=number == 2 or os.isatty(number),
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


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
    assert spec and spec.origin
    sys.argv = [spec.origin, *rest[2:]]
    module.__spec__, module.__file__, module.__package__ = spec, spec.origin, spec.parent
    return spec.loader.get_code(name)


if __name__ == "__main__":
    PLACES = sys.path[1:]
    for name in QUICK:
        importlib.import_module(name)
    groups = []
    for names in SLOW:
        groups.append(Later())
        for name in names:
            importlib.import_module(name)
    set_threads = sys.modules["torch"].set_num_threads
    sys.modules["transformers.conversion_mapping"].get_checkpoint_conversion_mapping("bert")  # all are made once
    for group in reversed(groups):
        group.hide()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    asked = serve(socket.socket(fileno=int(sys.argv[1])))
    become(*asked)
    exec(main_module(asked[0]), sys.modules["__main__"].__dict__)
