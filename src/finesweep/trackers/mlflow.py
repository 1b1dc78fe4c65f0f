"""MLflow: the user's tracking server, or a local SQLite store."""

from __future__ import annotations

import logging
import os
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from finesweep.system.paths import relative_to_here
from finesweep.system.redaction import redact
from finesweep.trackers.base import RunInfo, State, flattened, safe_labels, safe_tags

logger = logging.getLogger(__name__)

# MLflow has no pruned runs: such a one is finished, and its tag `state` says the rest.
STATUS = {"complete": "FINISHED", "pruned": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
RUN_ID_TAG = "finesweep.run_id"
LONGEST_PARAM = 6000  # MLflow's own limits
PARAMS_AT_ONCE = 100
KNOCK_TIMEOUT_S = 4


class MlflowTracker:
    """Log to an MLflow experiment.

    Args:
        store: the SQLite file that is used when there is no tracking URI.
        experiment: the MLflow experiment.
        tracking_uri: where runs go; MLFLOW_TRACKING_URI when None, and then the local store.
        group: puts several runs together: a tag.
        job_type: what kind of run it is: a tag.
        tags: for filtering.
    """

    package = "mlflow"

    def __init__(
        self,
        *,
        store: str,
        experiment: str,
        tracking_uri: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        tags: list[str] | None = None,
    ) -> None:
        self._store = Path(store).absolute()
        self._uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        labels = safe_labels({"experiment": experiment, "group": group, "job_type": job_type})
        self._experiment = str(labels.pop("experiment"))
        self._tags = {name: text for name, text in labels.items() if text}
        self._tags |= dict.fromkeys(safe_tags(tags), "true")
        self._client: Any = None
        self._id = ""

    def load(self) -> None:
        """Import MLflow's client without its telemetry; it brings polars, which scikit-learn looks for."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        import mlflow.tracking  # noqa: F401

        for name in ("mlflow", "alembic"):  # they tell the screen of every table they make
            logging.getLogger(name).setLevel(logging.WARNING)

    def start(self, run: RunInfo) -> None:
        """Open the store, and begin the MLflow run or go on with it."""
        self._client, experiment_id = self._open()
        filter_ = f"tags.`{RUN_ID_TAG}` = '{run.run_id}'"
        found = self._client.search_runs([experiment_id], filter_string=filter_)
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            return
        from mlflow.entities import Param

        tags = {**self._tags, RUN_ID_TAG: run.run_id}
        self._id = self._client.create_run(experiment_id, run_name=run.name, tags=tags).info.run_id
        params = [Param(name, str(value)[:LONGEST_PARAM]) for name, value in flattened(run.config)]
        for i in range(0, len(params), PARAMS_AT_ONCE):
            self._client.log_batch(self._id, params=params[i : i + PARAMS_AT_ONCE])

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Send metrics with their optimizer step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        batch = [Metric(name, value, now, step) for name, value in metrics.items()]
        self._client.log_batch(self._id, metrics=batch)

    def finish(self, state: State) -> None:
        """End the MLflow run as finished, killed or failed."""
        self._client.set_tag(self._id, "state", state)
        self._client.set_terminated(self._id, STATUS[state])

    def abandon(self) -> None:
        """Nothing is left open: every call is a request of its own."""

    def _open(self) -> tuple[Any, str]:
        from filelock import FileLock
        from mlflow.tracking import MlflowClient

        if self._uri:
            _knock(self._uri)
            client = MlflowClient(tracking_uri=self._uri)
            logger.info("MLflow: %s", redact(self._uri))
            return client, self._experiment_id(client)
        self._store.parent.mkdir(parents=True, exist_ok=True)
        uri = f"sqlite:///{relative_to_here(self._store)}"
        with FileLock(f"{self._store}.lock"):  # two trials that make the tables at once both fail
            client = MlflowClient(tracking_uri=f"sqlite:///{self._store}")
            experiment_id = self._experiment_id(client)
        logger.info("MLflow: mlflow ui --backend-store-uri %s", uri)
        return client, experiment_id

    def _experiment_id(self, client: Any) -> str:
        found = client.get_experiment_by_name(self._experiment)
        if found:
            return found.experiment_id
        # Nothing of ours goes there, but MLflow notes a place; its default is ./mlruns.
        place = None if self._uri else (self._store.parent / "mlflow-artifacts").as_uri()
        return client.create_experiment(self._experiment, artifact_location=place)


def _knock(uri: str) -> None:
    """Fail where no server answers: MLflow itself would ask again for minutes."""
    if uri.startswith(("http://", "https://")):
        with suppress(urllib.error.HTTPError):  # whatever it says, it is there
            urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=KNOCK_TIMEOUT_S).close()
