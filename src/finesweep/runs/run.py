"""One config, one run folder: prepare, fit, finish."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.config.build import build, register_resolvers
from finesweep.config.check import check
from finesweep.config.origin import Origin
from finesweep.config.saved import saved_config
from finesweep.errors import Interrupted
from finesweep.runs import provenance
from finesweep.runs.anchoring import CALLED_IN, anchored
from finesweep.runs.card import write_card
from finesweep.runs.evaluation import assist, final_splits, metrics_at
from finesweep.runs.features import FEATURES, features_of
from finesweep.runs.fitting import Timed, fit, make_trainer
from finesweep.runs.labels import write_labels
from finesweep.runs.layout import RunFolder
from finesweep.runs.ledger import TEST_SPLIT, hash_of_test, num_readers
from finesweep.runs.next_steps import next_steps
from finesweep.runs.outcome import half_widths, show_outcome, write_splits
from finesweep.runs.preparation import Prepared, prepare
from finesweep.runs.probing import probe
from finesweep.runs.result import RunResult
from finesweep.runs.sealing import seal
from finesweep.runs.status import recorded_status
from finesweep.runs.unchanged import check_fingerprints
from finesweep.system import console, distributed
from finesweep.system.files import write_folder, write_json
from finesweep.system.records import read_json
from finesweep.system.redaction import masked, redacted_output, remember, secrets_in
from finesweep.system.signals import interruptible
from finesweep.trackers import RunInfo, Sinks
from finesweep.trackers.base import State
from finesweep.training.base import Decision, Fitted, Monitor, Monitors, Packing, Trainer
from finesweep.training.checkpoints import claim, config_hash, step_of, to_go_on_from
from finesweep.training.monitors import FiniteGuard, MetricsFile, Progress, own_monitors

if TYPE_CHECKING:
    from omegaconf import DictConfig


def run(
    config: DictConfig,
    *,
    origin: Origin | None = None,
    overrides: Sequence[str] = (),
    monitors: Sequence[Monitor] = (),
    folder: RunFolder | None = None,
    quiet: bool = False,
    called_in: Path | None = None,
    repeats: RunFolder | None = None,
    accept: Callable[[Mapping[str, Any]], None] = lambda fingerprints: None,
    pack: Packing | None = None,
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
        repeats: the run whose repetition this is, with its speed-ups; left out, that in `folder`, if any.
        accept: is shown the fingerprints of data, model and tokenizer before training, and may refuse them.
        pack: trains this run together with others, if it can.

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
    if folder is None:
        RunFolder.check_place(plain["output_dir"], plain["name"])
    start = time.monotonic()
    distributed.connect()
    with redacted_output(), interruptible(), console.logging_to_console(quiet=quiet) as early_lines:
        before = repeats or folder
        prepared = prepare(plain, speedups_of=before.provenance if before else None, pack=pack)
        prepare_s = time.monotonic() - start
        if not distributed.is_main():
            return _assist(prepared)
        own = own_monitors([build(node) for node in plain.get("monitors") or ()])
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
            record = provenance.capture(masked(prepared.fingerprints), prepared.speedups, prepared.pack)
            features = features_of(prepared.data, prepared.config)
            write_json(folder.provenance, {**record, FEATURES: features, CALLED_IN: str(called_in)})
            write_labels(folder, prepared.data.schema)
            write_splits(folder.splits, prepared.data)
            result = _fit_and_finish(prepared, folder, checkpoint, saved, [*own, *monitors], prepare_s)
        if not quiet:
            steps = next_steps(folder, {**saved, "seed": plain["seed"]}, origin or Origin())
            title = f"{plain['name']}: {result.state}"
            result_json = read_json(folder.result)
            split = result_json.get(TEST_SPLIT)
            readers = num_readers(plain["output_dir"], split) if split else 0
            show_outcome(folder, title, result_json, prepared.adapted, steps, readers)
        return result


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
    write_folder(folder.adapter, functools.partial(_save_with_card, prepared, metrics))
    write_folder(folder.tokenizer, prepared.encoder.tokenizer.save_pretrained)
    return metrics


def _save_with_card(prepared: Prepared, metrics: dict[str, float], folder: Path) -> None:
    prepared.adapted.save(folder)
    write_card(
        folder,
        name=prepared.config["name"],
        base=prepared.classifier.name,
        is_adapter=prepared.adapted.is_peft,
        labels=prepared.data.schema.names,
        metrics=metrics,
    )


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
    progress = Progress(console.make_console(whole_lines=True))
    info = RunInfo(folder.run_id, config["name"], folder.path, saved, done)
    tracker = Sinks(build(config["tracker"]), info)
    ended: State = "failed"
    try:
        listeners = Monitors([metrics_file, tracker, progress, FiniteGuard(), *monitors])
        metric = config["objective"]["metric"]
        listeners.tell_objective(metric)
        start = time.monotonic()
        trainer, fitted = fit(prepared, folder, listeners, checkpoint)
        if fitted.micro_batch is not None:
            record = read_json(folder.provenance)
            write_json(folder.provenance, {**record, "micro_batch": fitted.micro_batch})
        train_s = time.monotonic() - start
        progress.close()
        timed = Timed(trainer)
        metrics = finish(prepared, folder, timed, fitted)
        beside = probe(prepared, final_splits(fitted, test=config["test"]))
        listeners.on_log(fitted.steps, _not_yet_logged(metrics, fitted))
        timings = {"prepare_s": prepare_s, "train_s": train_s, "finish_s": time.monotonic() - start - train_s}
        result = _result(prepared, fitted, metrics, beside, timings) | half_widths(folder, metric, metrics)
        if any(name.startswith("test/") for name in metrics):
            result |= hash_of_test(prepared.data) | timed.took(prepared, "test")
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


def _not_yet_logged(metrics: dict[str, float], fitted: Fitted) -> dict[str, float]:
    """Return the test metrics, and those of the whole validation split where a part was evaluated before."""
    found = {name: value for name, value in metrics.items() if name.startswith("test/")}
    if fitted.eval_rows is not None and fitted.decision is not Decision.PRUNE:
        whole = {name: value for name, value in metrics.items() if name.startswith("validation/")}
        found |= {f"whole_{name}": value for name, value in whole.items()}
    return found


def _result(
    prepared: Prepared,
    fitted: Fitted,
    metrics: dict[str, float],
    beside: dict[str, float],
    timings: dict[str, float],
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
        "probe": beside,
        "parameters": {"trainable": adapted.trainable, "total": adapted.total},
        "steps": fitted.steps,
        **({} if fitted.eval_rows is None else {"eval_rows": fitted.eval_rows}),
        **({} if fitted.micro_batch is None else {"micro_batch": fitted.micro_batch}),
        "truncated": prepared.encoded.truncated,
        "timings": {name: round(seconds, 3) for name, seconds in timings.items()},
    }
