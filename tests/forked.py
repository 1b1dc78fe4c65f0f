"""Start finesweep's commands without importing everything anew.

`python train.py` spends 8 of its 10 s with importing torch, transformers and what else it stands on, and a
test of a sweep starts several. So a server (fork_server.py), a child of the process that starts commands,
imports that once and forks for each command. What comes out is a child of whoever asked, with arguments,
environment, folder, session, signals and streams of its own: its number, how it ends and who is told of it
are real. Nothing of finesweep's own is imported beforehand. Each command has a server for what it starts in
turn, such as a sweep's workers.

Started as ever is what would differ: `python -c`, options of the interpreter, `preexec_fn`, an environment
that differs in what is read while importing. `pytest --real-starts` starts everything so; test_forked.py
compares.
"""

from __future__ import annotations

import contextlib
import ctypes
import inspect
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FINESWEEP = str(Path(sys.executable).with_name("finesweep"))
# Of these the interpreter and the libraries read some while they are imported.
READ_EARLY = ("PYTHON", "LANG", "LC_", "HF_", "TRANSFORMERS_", "TORCH_", "CUDA", "MKL_", "COVERAGE", "MPL")
MADE_UP_FOR = ("PYTHONPATH", "PYTHONSAFEPATH")
PR_SET_CHILD_SUBREAPER = 36
LENGTH = 8
REAL = subprocess.Popen
# Options that a fork can't have.
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
            return int.from_bytes(receive(connection, LENGTH), "big")

    def _begin(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        command = [sys.executable, str(Path(__file__).with_name("fork_server.py")), str(theirs.fileno())]
        self._process = REAL(
            command, env=self._environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
        )
        theirs.close()
        return ours


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
        pipes = [
            given[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        ]
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


def receive(connection: socket.socket, length: int) -> bytes:
    """Return so many bytes.

    Raises:
        ConnectionError: the other process has ended.
    """
    parts = b""
    while len(parts) < length:
        part = connection.recv(length - len(parts))
        if not part:
            raise ConnectionError("The other process has ended.")
        parts += part
    return parts
