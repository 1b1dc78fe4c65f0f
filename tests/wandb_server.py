"""A stand-in for the W&B server: takes a full online run and keeps what it was sent."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from local_server import JsonHandler, LocalServer

KEY = "0123456789abcdef0123456789abcdef01234567"


class WandbServer(LocalServer):
    """Serve on a free port of 127.0.0.1 while in use.

    Args:
        status: what every GraphQL request is answered with; 200 for a working server.
        hang_after_probe: accept requests after the first and never answer them.
    """

    def __init__(self, *, status: int = 200, hang_after_probe: bool = False) -> None:
        self.history: list[dict[str, Any]] = []
        self.exit_code: int | None = None
        self.requests = 0
        self.runs: list[dict[str, Any]] = []
        self._status, self._hang = status, hang_after_probe
        self._stop = threading.Event()
        server = self

        class Handler(JsonHandler):
            def do_POST(self):
                body = self.body()
                if not body:  # the client was killed while it sent
                    return
                server.requests += 1
                if server._hang and server.requests > 1:
                    server._stop.wait(60)
                    return
                if self.path == "/graphql":
                    self.answer(server._status, server._graphql(json.loads(body)))
                else:
                    server._file_stream(json.loads(body))
                    self.answer(200, {})

            def do_PUT(self):
                self.body()
                self.answer(200, {})

        super().__init__(Handler)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        super().__exit__()

    def rows_by_step(self) -> dict[int, dict[str, Any]]:
        """Return what was sent, merged by step."""
        merged: dict[int, dict[str, Any]] = {}
        for row in self.history:
            merged.setdefault(row["_step"], {}).update(row)
        return merged

    def wait_for_exit(self, seconds: float = 10) -> int | None:
        """Wait until a run has said how it ended."""
        deadline = time.monotonic() + seconds
        while self.exit_code is None and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.exit_code

    def _graphql(self, request: dict[str, Any]) -> dict[str, Any]:
        query, variables = request["query"], request.get("variables") or {}
        if "upsertBucket" in query:
            self.runs.append(variables)
            project = {"name": variables.get("project") or "p", "entity": {"name": "tester"}}
            name = variables.get("name") or "run"
            bucket = {"id": "id", "name": name, "displayName": name, "sweepName": None, "project": project}
            return {"data": {"upsertBucket": {"bucket": {**bucket, "historyLineCount": 0}, "inserted": True}}}
        if "createRunFiles" in query:
            files = [
                {"name": file, "uploadUrl": f"{self.url}/upload/{file}"}
                for file in variables.get("files", [])
            ]
            return {"data": {"createRunFiles": {"runID": "id", "uploadHeaders": [], "files": files}}}
        if "bucket" in query:
            return {"data": {"model": {"bucket": None}}}
        viewer = {
            "id": "viewer",
            "entity": "tester",
            "username": "tester",
            "flags": "{}",
            "teams": {"edges": []},
        }
        return {"data": {"viewer": viewer, "serverInfo": {"features": []}}}

    def _file_stream(self, body: dict[str, Any]) -> None:
        for name, content in (body.get("files") or {}).items():
            if name == "wandb-history.jsonl":
                self.history += [json.loads(line) for line in content["content"]]
        if body.get("complete"):
            self.exit_code = body.get("exitcode")
