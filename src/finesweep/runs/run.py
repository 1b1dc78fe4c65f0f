"""One config, one run folder: prepare, fit, finish."""

from __future__ import annotations

import functools
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from finesweep.config.check import Origin, build, check, register_resolvers, saved_config
from finesweep.errors import DiskFull, Fault, FinesweepError, Interrupted, RunTakenOver, TrainingError
from finesweep.runs import provenance
from finesweep.runs.anchoring import CALLED_IN, anchored, anchored_saved
from finesweep.runs.evaluation import assist, final_splits, metrics_at
from finesweep.runs.layout import RunFolder, disk_full_error, read_config, typed, write_folder, write_json
from finesweep.runs.outcome import show_outcome, write_splits
from finesweep.runs.preparation import Prepared, prepare
from finesweep.runs.sealing import MODEL, check_seal, seal
from finesweep.runs.unchanged import check_fingerprints
from finesweep.system import console, distributed
from finesweep.system.process import ignore_termination, interruptible
from finesweep.system.records import RESULT, read_json
from finesweep.system.redaction import masked, redacted_output, remember, secrets_in
from finesweep.trackers import RunInfo, Sinks
from finesweep.trackers.base import State
from finesweep.training.base import Decision, Fitted, Monitor, Monitors, Trainer, TrainingTask
from finesweep.training.checkpoints import claim, config_hash, numbers_alone, step_of, to_go_on_from
from finesweep.training.losses import Loss
from finesweep.training.monitors import FiniteGuard, MetricsFile, Progress

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    from omegaconf import DictConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Args:
        folder: the run folder.
        state: `complete` or `pruned`.
        objective: the validation metric that the config names, at the best checkpoint.
        trainable: number of trained parameters.
        metrics: final metrics by name: `validation/accuracy`, `test/accuracy`, ...

    Example:
        >>> result = finesweep.run(["experiment=quick"])
        >>> result.objective, result.metrics["test/accuracy"], result.config["trainer"]["learning_rate"]
        (0.8685, 0.8732, 0.002)
        >>> unsure = result.predictions("validation").sort("p/tech").head()
    """

    folder: Path
    state: str
    objective: float
    trainable: int
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, Any]:
        """The config that ran, complete."""
        return read_config(RunFolder(self.folder).config)

    def predictions(self, split: str = "test", *, pandas: bool = False) -> pl.DataFrame | pd.DataFrame:
        """Return the run's predictions: id, label, predicted label, every probability.

        Args:
            split: `test` or `validation`.
            pandas: a pandas frame instead of a polars one.

        Raises:
            FinesweepError: the run has none of this split.
        """
        from finesweep.commands.api import predictions_of

        return predictions_of(self.folder, split, pandas=pandas)


def run(
    config: DictConfig,
    *,
    origin: Origin | None = None,
    overrides: Sequence[str] = (),
    monitors: Sequence[Monitor] = (),
    folder: RunFolder | None = None,
    quiet: bool = False,
    called_in: Path | None = None,
    accept: Callable[[Mapping[str, Any]], None] = lambda fingerprints: None,
) -> RunResult:
    """Execute one composed config and leave its run folder.

    Args:
        config: the composed config, Hydra's own node left out.
        origin: where its values come from, for messages.
        overrides: the command line, for overrides.yaml.
        monitors: who else listens to training.
        folder: the folder to use instead of a new one; a run that was cut off in it goes on from its
            newest valid checkpoint.
        quiet: write to the run folder's log, and nothing to the screen.
        called_in: what the config's paths are relative to; the working folder when left out.
        accept: is shown the fingerprints of data, model and tokenizer before training, and may refuse them.

    Raises:
        ConfigError: the config can't be run; nothing was written.
        FinesweepError: the data, the model or the training can't go on.
        Interrupted: SIGTERM or Ctrl-C; the folder says so.
    """
    register_resolvers()
    called_in = called_in or Path.cwd()
    config = anchored(config, called_in)
    plain = check(config, origin)
    remember(secrets_in(plain))
    saved = saved_config(config)
    start = time.monotonic()
    distributed.connect()
    with redacted_output(), interruptible(), console.logging_to_console(quiet=quiet) as early_lines:
        prepared = prepare(plain)
        prepare_s = time.monotonic() - start
        if not distributed.is_main():
            return _assist(prepared)
        accept(prepared.fingerprints)
        folder = folder or RunFolder.create(plain["output_dir"], plain["name"])
        owner, resume = config_hash(saved), plain.get("resume", "strict")
        # Of a trial, whatever lies in its folder; a run's own config.yaml is the user's to edit.
        checkpoint = to_go_on_from(folder.checkpoints, resume, owner if resume == "auto" else "")
        if checkpoint:
            check_fingerprints(folder, prepared.fingerprints)
        claim(folder.checkpoints, owner)
        distributed.broadcast((folder.path, checkpoint))
        with console.logging_to_file(folder.log, early_lines), recorded_status(folder):
            folder.write_config(saved, overrides)
            record = provenance.capture(masked(prepared.fingerprints), prepared.speedups)
            write_json(folder.provenance, {**record, CALLED_IN: str(called_in)})
            write_json(folder.labels, prepared.data.schema.to_json())
            write_splits(folder.splits, prepared.data)
            result = _fit_and_finish(prepared, folder, checkpoint, saved, monitors, prepare_s)
        if not quiet:
            show_outcome(folder, plain["name"], result.state, read_json(folder.result), prepared.adapted)
        return result


def fit(
    prepared: Prepared, folder: RunFolder, monitors: Monitor, checkpoint: Path | None = None
) -> tuple[Trainer, Fitted]:
    """Train a prepared model, from a checkpoint of its own if it has one (step 7)."""
    from finesweep.models.weights import link_backbone

    if prepared.adapted.is_peft:
        link_backbone(prepared.classifier, folder.backbone)
        for peft_config in prepared.adapted.model.peft_config.values():
            peft_config.base_model_name_or_path = str(folder.backbone)
    trainer = make_trainer(prepared, folder.checkpoints, monitors, checkpoint)
    with numbers_alone(folder.checkpoints):
        return trainer, trainer.fit()


def make_trainer(
    prepared: Prepared, checkpoints: Path, monitors: Monitor, checkpoint: Path | None = None
) -> Trainer:
    """Return the config's trainer for a prepared model.

    Args:
        prepared: what it trains, or predicts with.
        checkpoints: the folder where it keeps them.
        monitors: who listens.
        checkpoint: where training goes on from.
    """
    config, data = prepared.config, prepared.data
    task = TrainingTask(
        model=prepared.adapted.model,
        train=prepared.encoded.splits["train"],
        validation=prepared.encoded.splits["validation"],
        collator=prepared.encoder.collator(),
        compute_metrics=functools.partial(prepared.evaluator.metrics, "validation"),
        objective=config["objective"]["metric"],
        maximize=config["objective"]["direction"] == "maximize",
        seed=config["seed"],
        checkpoints=checkpoints,
        monitors=monitors,
        start=checkpoint,
        loss=Loss(data.schema.problem_type, data.class_weights, data.focal_gamma, data.schema.scale**2),
    )
    return build(config["trainer"], task=task)


def finish(prepared: Prepared, folder: RunFolder, trainer: Trainer, fitted: Fitted) -> dict[str, float]:
    """Evaluate the best weights and save what the run leaves (steps 8 and 9); return the final metrics.

    A pruned run's metrics are those that its best evaluation had.
    """
    folder.check_ours()
    splits = final_splits(fitted, test=prepared.config["test"])
    metrics = {} if splits else metrics_at(folder, fitted.best_step)
    folder.predictions.mkdir(exist_ok=True)
    for split in splits:
        metrics |= prepared.evaluator.finish(folder, trainer, split, fitted)
    folder.check_ours()
    write_folder(folder.adapter, prepared.adapted.save)
    write_folder(folder.tokenizer, prepared.encoder.tokenizer.save_pretrained)
    return metrics


def evaluate_saved(
    folder: RunFolder, split: str, secrets: Mapping[str, Any] | None = None
) -> dict[str, float]:
    """Evaluate a finished run's saved weights on a split, and add the metrics to its result.json.

    Args:
        folder: of a complete run.
        split: `validation` or `test`.
        secrets: values, by key, that were masked when the run was saved.
    """
    register_resolvers()
    saved = OmegaConf.create(read_config(folder.config))
    for key, value in (secrets or {}).items():
        OmegaConf.update(saved, key, value)
    saved = anchored_saved(saved, folder.path)
    check_seal(folder, MODEL)
    prepared = prepare(check(saved, Origin(path=str(folder.config))), folder.adapter)
    check_fingerprints(folder, prepared.fingerprints)
    metrics = prepared.evaluator.finish(
        folder, make_trainer(prepared, folder.checkpoints, Monitors([])), split
    )
    result = read_json(folder.result, RESULT)
    baseline = {**result.get("baseline", {}), **prepared.evaluator.baseline(split)}
    write_json(folder.result, {**result, "metrics": {**result["metrics"], **metrics}, "baseline": baseline})
    seal(folder)
    return metrics


@contextmanager
def recorded_status(folder: RunFolder) -> Iterator[None]:
    """Keep status.json true however the block ends; `complete` and `pruned` are written by the block."""
    folder.write_status("running")
    try:
        yield
    except Interrupted as interruption:
        folder.write_status("interrupted", signal.Signals(interruption.signal_number).name)
        logger.info("Interrupted; the run folder is %s", folder.path)
        raise
    except RunTakenOver:
        raise
    except BaseException as error:
        known = disk_full_error(error, folder.path) or _lost_peer_error(error, folder)
        reason = str(known or error) if isinstance(known or error, FinesweepError) else repr(error)
        with _unless_full(known):
            folder.write_status("failed", reason)
        if known:
            raise known from error
        if not isinstance(error, FinesweepError):
            logger.debug("The run failed.", exc_info=True)
        raise


def _unless_full(known: FinesweepError | None) -> AbstractContextManager[None]:
    """Let a status go unwritten on a full disk: what is wrong with the disk is what has to be said."""
    return suppress(OSError) if isinstance(known, DiskFull) else nullcontext()


def _lost_peer_error(error: BaseException, folder: RunFolder) -> TrainingError | None:
    if not distributed.is_lost_peer(error):
        return None
    ignore_termination()
    rule = "Another process of this run is gone; its own message, if it had one, is above."
    launch = f"accelerate launch --num_processes {distributed.world_size()}"
    fix = f"Go on from the last checkpoint: {launch} -m finesweep resume {typed(folder.path)}"
    return TrainingError(Fault("accelerate", rule, fix=fix))


def _assist(prepared: Prepared) -> RunResult:
    """Be one of a run's other processes: compute what the main one computes, and write nothing."""
    path, checkpoint = distributed.broadcast(None)
    folder = RunFolder(path)
    trainer = make_trainer(prepared, folder.checkpoints, Monitors([]), checkpoint)
    try:
        fitted = trainer.fit()
        metrics = assist(prepared.evaluator, trainer, fitted, test=prepared.config["test"])
    except BaseException as error:
        if distributed.is_lost_peer(error) and folder.read_status()["state"] == "running":
            folder.write_status("failed", "The main process is gone.")  # it had no time to say so
        raise
    state = "pruned" if fitted.decision is Decision.PRUNE else "complete"
    value = metrics.get(f"validation/{prepared.config['objective']['metric']}", math.nan)
    return RunResult(path, state, value, prepared.adapted.trainable, metrics)


def _fit_and_finish(
    prepared: Prepared,
    folder: RunFolder,
    checkpoint: Path | None,
    saved: dict[str, Any],
    monitors: Sequence[Monitor],
    prepare_s: float,
) -> RunResult:
    config = prepared.config
    done = step_of(checkpoint) if checkpoint else 0
    metrics_file = MetricsFile(folder.metrics, done)
    progress = Progress(console.make_console())
    info = RunInfo(folder.run_id, config["name"], folder.path, saved, done)
    tracker = Sinks(build(config["tracker"]), info)
    ended: State = "failed"
    try:
        listeners = Monitors([metrics_file, tracker, progress, FiniteGuard(), *monitors])
        listeners.tell_objective(config["objective"]["metric"])
        start = time.monotonic()
        trainer, fitted = fit(prepared, folder, listeners, checkpoint)
        train_s = time.monotonic() - start
        progress.close()
        metrics = finish(prepared, folder, trainer, fitted)
        listeners.on_log(
            fitted.steps, {key: value for key, value in metrics.items() if key.startswith("test/")}
        )
        timings = {"prepare_s": prepare_s, "train_s": train_s, "finish_s": time.monotonic() - start - train_s}
        result = _result(prepared, fitted, metrics, timings)
        folder.check_ours()
        write_json(folder.result, result)
        seal(folder)
        state = "pruned" if fitted.decision is Decision.PRUNE else "complete"
        folder.write_status(state, steps=fitted.steps)
        ended = state
    except Interrupted:
        ended = "interrupted"
        raise
    finally:
        progress.close()
        metrics_file.close()
        tracker.close(ended)
    return RunResult(folder.path, state, result["objective"]["value"], prepared.adapted.trainable, metrics)


def _result(
    prepared: Prepared, fitted: Fitted, metrics: dict[str, float], timings: dict[str, float]
) -> dict[str, Any]:
    objective, adapted = prepared.config["objective"], prepared.adapted
    value = metrics[f"validation/{objective['metric']}"]
    baseline = {
        name: number
        for split in ("validation", "test")
        if any(metric.startswith(split) for metric in metrics)
        for name, number in prepared.evaluator.baseline(split).items()
    }
    return {
        "objective": {**objective, "value": value, "step": fitted.best_step},
        "metrics": metrics,
        "baseline": baseline,
        "parameters": {"trainable": adapted.trainable, "total": adapted.total},
        "steps": fitted.steps,
        "truncated": prepared.encoded.truncated,
        "timings": {name: round(seconds, 3) for name, seconds in timings.items()},
    }
