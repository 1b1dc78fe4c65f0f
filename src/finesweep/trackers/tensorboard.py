"""TensorBoard: an event file in the run folder."""

from __future__ import annotations

import logging
import time
from typing import Any

from finesweep.system.paths import typed
from finesweep.trackers.base import RunInfo, State, flattened, safe_labels

logger = logging.getLogger(__name__)

FOLDER = "tensorboard"


class TensorboardTracker:
    """Write RUN/tensorboard; `tensorboard --logdir outputs` shows all runs.

    Args:
        group: puts several runs together: a hyperparameter to filter by.
        job_type: what kind of run it is; a hyperparameter too.
    """

    package = "tensorboard"

    def __init__(self, *, group: str | None = None, job_type: str | None = None) -> None:
        self._labels = safe_labels({"group": group, "job_type": job_type})
        self._writer: Any = None

    def load(self) -> None:
        """Import TensorBoard's writer."""
        import torch.utils.tensorboard  # noqa: F401

    def start(self, run: RunInfo) -> None:
        """Open the event file and write the config as hyperparameters."""
        from tensorboard.plugins.hparams import metadata
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder / FOLDER
        # What a resumed run had logged beyond its checkpoint comes again.
        self._writer = SummaryWriter(str(folder), purge_step=run.step + 1 if run.step else None)
        info = _messages().SessionStartInfo(start_time_secs=time.time())
        for name, value in (*self._labels.items(), *flattened(run.config)):
            if isinstance(value, bool):
                info.hparams[name].bool_value = value
            elif isinstance(value, int | float):
                info.hparams[name].number_value = value
            else:
                info.hparams[name].string_value = "" if value is None else str(value)
        self._write(metadata.SESSION_START_INFO_TAG, session_start_info=info)
        logger.info("TensorBoard: tensorboard --logdir %s", typed(folder))

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Write scalars, in single precision: TensorBoard's fast reader leaves doubles out silently."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def finish(self, state: State) -> None:
        """Say how the session ended, and close the file; TensorBoard knows no pruned sessions.

        An interrupted one has no end: it may go on, and TensorBoard believes the first end that it reads.
        """
        from tensorboard.plugins.hparams import metadata

        if state != "interrupted":
            status = "STATUS_FAILURE" if state == "failed" else "STATUS_SUCCESS"
            info = _messages().SessionEndInfo(status=status, end_time_secs=time.time())
            self._write(metadata.SESSION_END_INFO_TAG, session_end_info=info)
        self._writer.close()

    def abandon(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()

    def _write(self, tag: str, **info: Any) -> None:
        from tensorboard.compat.proto import summary_pb2
        from tensorboard.plugins.hparams import metadata

        proto: Any = summary_pb2  # its classes are made at import
        content = _messages().HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **info)
        plugin = {"plugin_name": metadata.PLUGIN_NAME, "content": content.SerializeToString()}
        value = {"tag": tag, "metadata": {"plugin_data": plugin}}
        self._writer.file_writer.add_summary(proto.Summary(value=[value]))


def _messages() -> Any:
    from tensorboard.plugins.hparams import plugin_data_pb2

    return plugin_data_pb2
