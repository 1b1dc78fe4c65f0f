"""`finesweep dashboard`: optuna-dashboard on a sweep's study, for this machine alone."""

from __future__ import annotations

import socket
from importlib.util import find_spec
from pathlib import Path

from finesweep.errors import Fault, FinesweepError
from finesweep.report.record import open_study, read_manifest

HOST = "127.0.0.1"


def serve(path: Path, port: int = 0) -> None:
    """Serve a sweep's study until Ctrl-C.

    Args:
        path: the sweep's folder.
        port: 0 for a free one.

    Raises:
        FinesweepError: no sweep folder, a port that is taken, or optuna-dashboard isn't installed.
    """
    if find_spec("optuna_dashboard") is None:
        fix = "Install finesweep with its dashboard extra: pip install 'finesweep[dashboard]'"
        raise FinesweepError(Fault("dashboard", "optuna-dashboard isn't installed.", fix=fix))
    study = open_study(path, read_manifest(path))
    port = _free_port(port)
    import optuna_dashboard

    print(f"{study.study_name}: http://{HOST}:{port}/  (Ctrl-C ends it)", flush=True)
    try:
        optuna_dashboard.run_server(study._storage, host=HOST, port=port)
    except KeyboardInterrupt:
        print()


def _free_port(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            rule = f"The port can't be used: {error.strerror}."
            raise FinesweepError(Fault("--port", rule, port, fix="0 finds a free one.")) from error
        return probe.getsockname()[1]
