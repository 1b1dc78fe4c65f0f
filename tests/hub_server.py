"""A stand-in for the Hub: takes a new repository and a commit of regular and LFS files, and keeps them."""

from __future__ import annotations

import base64
import json
from typing import Any

from local_server import JsonHandler, LocalServer

TOKEN = "hf_0123456789abcdefghijklmnop"
REFUSAL = 'You don\'t have the rights to create a model under the namespace "me"'
# What goes by LFS.
LARGE = (".safetensors", ".onnx")


class HubServer(LocalServer):
    """Serve on a free port of 127.0.0.1 while in use.

    Args:
        status: what every request is answered with; 200 for a working server.
        already: names of files that the repository holds.
    """

    def __init__(self, *, status: int = 200, already: tuple[str, ...] = ()) -> None:
        self.files: dict[str, bytes] = {}
        self.created: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.authorizations: set[str | None] = set()
        self.requests: list[str] = []
        self._status, self._already = status, already
        self._objects: dict[str, bytes] = {}
        server = self

        class Handler(JsonHandler):
            def do_GET(self):
                server.requests.append(f"GET {self.path}")
                self.answer(server._status, server._listed(self.path))

            def do_POST(self):
                body = self.body()
                server.requests.append(f"POST {self.path}")
                server.authorizations.add(self.headers.get("Authorization"))
                answer = server._post(self.path.partition("?")[0], body)
                self.answer(*(answer if server._status == 200 else (server._status, {"error": REFUSAL})))

            def do_PUT(self):
                server.requests.append(f"PUT {self.path}")
                server._objects[self.path.rpartition("/")[2]] = self.body()
                self.answer(200, {})

        super().__init__(Handler)

    def _listed(self, path: str) -> Any:
        if "/tree/" in path:
            return [{"type": "file", "path": name, "size": 1, "oid": "0"} for name in self._already]
        siblings = [{"rfilename": name} for name in self._already]
        return {"id": "me/model", "sha": "0" * 40, "siblings": siblings, "private": False, "tags": []}

    def _post(self, path: str, body: bytes) -> tuple[int, Any]:
        if path == "/api/repos/create":
            self.created.append(json.loads(body))
            return 200, {"url": f"{self.url}/{_repository(body)}"}
        if "/preupload/" in path:
            names = [file["path"] for file in json.loads(body)["files"]]
            return 200, {"files": [_mode(name) for name in names]}
        if path.endswith("/objects/batch"):
            return 200, {
                "transfer": "basic",
                "objects": [self._slot(one) for one in json.loads(body)["objects"]],
            }
        if "/commit/" in path:
            self._commit(body)
            return 200, {"commitUrl": f"{self.url}/me/model/commit/{'0' * 40}", "commitOid": "0" * 40}
        if "/validate-yaml" in path:
            return 200, {"errors": [], "warnings": []}
        return 404, {"error": f"unknown {path}"}

    def _slot(self, one: dict[str, Any]) -> dict[str, Any]:
        return {**one, "actions": {"upload": {"href": f"{self.url}/upload/{one['oid']}", "header": {}}}}

    def _commit(self, body: bytes) -> None:
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.files[value["path"]] = self._objects[value["oid"]]
            elif line["key"] == "deletedFile":
                self.deleted.append(value["path"])


def _mode(name: str) -> dict[str, Any]:
    mode = "lfs" if name.endswith(LARGE) else "regular"
    return {"path": name, "uploadMode": mode, "shouldIgnore": False, "oid": None}


def _repository(body: bytes) -> str:
    asked = json.loads(body)
    return f"{asked['organization']}/{asked['name']}"
