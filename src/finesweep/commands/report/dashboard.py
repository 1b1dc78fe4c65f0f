"""`finesweep dashboard`: optuna-dashboard on a sweep's study, for this machine alone."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from finesweep.commands.report.record import open_study, read_manifest
from finesweep.errors import Fault, FinesweepError
from finesweep.sweeps.optuna_insides import storage_of
from finesweep.system.terminal import visible

HOST = "127.0.0.1"


def serve(path: Path, port: int = 0, trusted: Collection[str] = ()) -> None:
    """Serve a sweep's study until Ctrl-C.

    Args:
        path: the sweep's folder.
        port: 0 for a free one.
        trusted: targets of the sweep's storage that the user vouches for.

    Raises:
        FinesweepError: no sweep folder, a port that can't be used, or optuna-dashboard isn't installed.
    """
    if find_spec("optuna_dashboard") is None:
        fix = "Install finesweep with its dashboard extra: pip install 'finesweep[dashboard]'"
        raise FinesweepError(Fault("dashboard", "It needs optuna-dashboard.", fix=fix))
    study = open_study(path, read_manifest(path), trusted)
    # Optuna's advice on importances of few trials; nothing that one could do from here.
    with _server(port) as server, warnings.catch_warnings(action="ignore"):
        import optuna_dashboard

        server.set_app(for_this_machine(optuna_dashboard.wsgi(storage_of(study)), server.server_port))
        print(
            f"{visible(study.study_name)}: http://{HOST}:{server.server_port}/  (Ctrl-C ends it)", flush=True
        )
        # Not in this thread: while a request is answered, wsgiref swallows a KeyboardInterrupt.
        answering = Thread(target=server.serve_forever, daemon=True)
        answering.start()
        try:
            answering.join()
        except KeyboardInterrupt:
            print()


def for_this_machine(app: Any, port: int) -> Any:
    """Return a WSGI application that answers only who calls it by this machine's own name.

    A page elsewhere can have its name lead here (DNS rebinding), and would be let in as a page of ours.
    """
    names = {f"{HOST}:{port}", f"localhost:{port}"}
    origins = {None, *(f"http://{name}" for name in names)}

    def answer(environ: dict[str, Any], start_response: Any) -> Any:
        if environ.get("HTTP_HOST") in names and environ.get("HTTP_ORIGIN") in origins:
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [f"This page is http://{HOST}:{port}/ and nothing else.\n".encode()]

    return answer


class _Handler(WSGIRequestHandler):
    """Answer without a line on the screen for each request."""

    def log_request(self, code: object = "", size: object = "") -> None:
        """Say nothing."""


def _server(port: int) -> WSGIServer:
    try:
        return make_server(HOST, port, None, handler_class=_Handler)  # type: ignore[arg-type]
    except (OSError, OverflowError) as error:
        rule = f"The port can't be used: {getattr(error, 'strerror', None) or error}"
        raise FinesweepError(Fault("--port", rule, port, fix="0 finds a free one.")) from error
