"""A MariaDB server of one's own, with a password, from Debian's package."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("mariadbd", "mariadb-install-db", "mariadb")
USER = "tester"


def why_not() -> str:
    """Say what is missing to run one, or nothing."""
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    return f"{', '.join(missing)} missing: make test-scale installs MariaDB as root" if missing else ""


@contextmanager
def running_server(password: str) -> Iterator[int]:
    """Run a server with an empty database `studies` on 127.0.0.1; yield its port."""
    with tempfile.TemporaryDirectory() as name:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        folder, user = Path(name), getpass.getuser()
        data, door = folder / "data", folder / "door"
        _run("mariadb-install-db", "--no-defaults", f"--datadir={data}", f"--user={user}", "--skip-test-db")
        with (folder / "log").open("w") as log:
            server = subprocess.Popen(
                [
                    *("mariadbd", "--no-defaults", f"--datadir={data}", f"--user={user}", f"--socket={door}"),
                    *("--bind-address=127.0.0.1", f"--port={port}", f"--pid-file={folder / 'pid'}"),
                ],
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        try:
            _wait_for(door, server, folder / "log")
            own = f"{USER}@'127.0.0.1'"
            _run(
                *("mariadb", "--no-defaults", f"--socket={door}", f"--user={user}", "--execute"),
                f"CREATE DATABASE studies; CREATE USER {own} IDENTIFIED BY '{password}'; "
                f"GRANT ALL ON studies.* TO {own};",
            )
            yield port
        finally:
            server.terminate()
            server.wait()


def _wait_for(door: Path, server: subprocess.Popen, log: Path) -> None:
    limit = time.monotonic() + 120
    while not door.exists():
        assert server.poll() is None, log.read_text()
        assert time.monotonic() < limit, log.read_text()
        time.sleep(0.1)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
