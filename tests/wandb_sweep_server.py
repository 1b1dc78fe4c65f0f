"""A stand-in for the part of W&B's server that keeps sweeps and tells their agents what to run."""

from __future__ import annotations

import json
from typing import Any

import yaml

from wandb_server import WandbServer

SWEEP = "swp12345"


class WandbSweepServer(WandbServer):
    """Take a sweep, and give its agent one run, then the end.

    Args:
        values: of the sweep's parameters, in that run.
        run_id: of that run.
    """

    def __init__(self, values: dict[str, Any], run_id: str) -> None:
        super().__init__()
        self.sweep: dict[str, Any] = {}
        self._values, self._run_id = values, run_id
        self._given = False

    def _graphql(self, request: dict[str, Any]) -> dict[str, Any]:
        query, variables = request["query"], request.get("variables") or {}
        project = {"id": "p", "name": "finesweep", "entity": {"id": "e", "name": "tester"}}
        if "upsertSweep" in query:
            self.sweep = yaml.safe_load(variables["config"])
            answer = {"sweep": {"name": SWEEP, "project": project}, "configValidationWarnings": []}
            return {"data": {"upsertSweep": answer}}
        if "createAgent" in query:
            return {"data": {"createAgent": {"agent": {"id": "agent"}}}}
        if "agentHeartbeat" in query:
            running = json.loads(variables["runState"])
            answer = {"agent": {"id": "agent"}, "commands": json.dumps(self._commands(running))}
            return {"data": {"agentHeartbeat": answer}}
        if "sweep(" in query:
            sweep = {"id": "s", "name": SWEEP, "method": "bayes", "state": "RUNNING", "runs": {"edges": []}}
            return {"data": {"project": {"sweep": {**sweep, "config": yaml.safe_dump(self.sweep)}}}}
        return super()._graphql(request)

    def _commands(self, running: dict[str, bool]) -> list[dict[str, Any]]:
        if self._given:
            return [] if running else [{"type": "exit"}]
        self._given = True
        args = {name: {"value": value} for name, value in self._values.items()}
        return [{"type": "run", "run_id": self._run_id, "program": self.sweep["program"], "args": args}]
