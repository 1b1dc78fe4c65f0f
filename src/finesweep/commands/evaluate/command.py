"""`finesweep evaluate`: a finished run against labelled rows, as a file, a page and a short table."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING

from finesweep.commands.evaluate import figures, rows
from finesweep.commands.evaluate.confidence import confidence_of
from finesweep.commands.evaluate.label_errors import label_errors
from finesweep.commands.evaluate.page import render
from finesweep.commands.evaluate.result import Assessment
from finesweep.commands.evaluate.text import lines_of
from finesweep.commands.predict.ensemble import predictor_of
from finesweep.config.authorship import with_own
from finesweep.config.trust import check_trusted, strangers, targets_in
from finesweep.data.labels import MULTI, REGRESSION, SINGLE, TOKENS
from finesweep.errors import DataError, Fault
from finesweep.metrics import default_metrics
from finesweep.metrics.intervals import intervals, num_resamples
from finesweep.metrics.own import use_own
from finesweep.metrics.scores import Scored
from finesweep.runs.ensemble import Ensemble
from finesweep.runs.saved import SavedRun
from finesweep.runs.yardsticks import PROBE, beside, doubt, no_better
from finesweep.system import console
from finesweep.system.files import write_json, write_text
from finesweep.system.paths import relative_to_here
from finesweep.system.records import RESULT, read_json
from finesweep.system.signatures import find_beside

if TYPE_CHECKING:
    from finesweep.commands.predict import Predictions

SPLITS = ("test", "validation", "train")


def evaluate(
    path: Path,
    words: Sequence[str] = (),
    *,
    split: str = "test",
    top: int | None = None,
    changed: bool = False,
    trusted: Collection[str] = (),
    batch_size: int = 64,
    device: str | None = None,
    as_json: bool = False,
    resamples: int | None = None,
) -> Assessment:
    """Evaluate a finished run, write evaluation.json and evaluation.html into its folder, and print it.

    Those of several trials are written into their sweep's folder.

    Args:
        path: a run's folder, or a sweep's.
        words: a file of labelled rows, or overrides of the run's data.
        split: of its data; a file is one split.
        top: of a sweep, average the predictions of so many of its best trials.
        changed: take the run's data though they are not what they were; the file is called so.
        trusted: targets, beyond finesweep's own, that its config may call.
        batch_size: rows in a batch.
        device: as torch calls it.
        as_json: print JSON on stdout, and nothing else.
        resamples: what the intervals are made of; left out, `num_resamples`.

    Raises:
        FinesweepError: no complete run, or rows that can't be read.
    """
    ensemble = Ensemble.open(path, top, trusted) if top is not None else None
    run = ensemble.best if ensemble else SavedRun.open(path, trusted)
    with redirect_stdout(sys.stderr if as_json else sys.stdout):  # a user's own source may print
        found, suffix = _labelled(run, words, split, trusted, changed=changed)
        chosen = _metrics(run, trusted)
        if ensemble and not words:
            ensemble.check_rows(split)
        assessment = assess(
            ensemble or run, found, chosen, batch_size=batch_size, device=device, resamples=resamples
        )
    if not words and not changed:
        assessment = _with_yardsticks(assessment, run, split)
    page = _file(ensemble or run, suffix, "html")
    write_json(_file(ensemble or run, suffix, "json"), assessment.to_json())
    write_text(page, render(assessment))
    if as_json:
        print(json.dumps(assessment.to_json(), indent=1))
    else:
        lines = [*lines_of(assessment), "", f"The page is {relative_to_here(page)}"]
        console.make_console().print("\n".join(lines), markup=False)
    return assessment


def list_label_errors(
    path: Path, trusted: Collection[str] = (), *, is_alone: bool = True, as_json: bool = False
) -> None:
    """List the rows of a sweep over folds whose label its models contradict; see `label_errors`.

    Raises:
        FinesweepError: other rows were asked for too, or see there.
    """
    if not is_alone:
        rule = "It looks at the held-out rows of a sweep over folds, and at no others."
        fix = "Leave out the file or overrides, --top, --split and --changed."
        raise DataError(Fault("--label-errors", rule, fix=fix))
    label_errors(path, trusted, as_json=as_json)


def _file(model: SavedRun | Ensemble, suffix: str, ending: str) -> Path:
    """Name a file of an evaluation: a run's own are in its folder."""
    if isinstance(model, Ensemble):
        return model.sweep.evaluation(f"-top{len(model.trials)}{suffix}", ending)
    return model.folder.path / f"evaluation{suffix}.{ending}"


def _with_yardsticks(assessment: Assessment, run: SavedRun, split: str) -> Assessment:
    """Put a run's baseline and probe beside its metrics, and say where training was no better."""
    result = read_json(run.folder.result, RESULT)
    known, objective = beside(result, split), result["objective"]
    metric, maximizes = objective["metric"], objective["direction"] == "maximize"
    own, probe = assessment.metrics.get(metric), known.get(PROBE, {}).get(metric)
    notes = assessment.notes
    if own and probe is not None and no_better(own.value, probe, maximizes=maximizes):
        notes = (*notes, doubt(metric, split, own.value, probe))
    return replace(assessment, beside=known, notes=notes)


def assess(
    model: SavedRun | Ensemble,
    found: rows.LabelledRows,
    chosen: Sequence[str],
    *,
    batch_size: int = 64,
    device: str | None = None,
    resamples: int | None = None,
) -> Assessment:
    """Predict for labelled rows and say what the predictions are worth."""
    ensemble = model if isinstance(model, Ensemble) else None
    run = model.best if isinstance(model, Ensemble) else model
    with console.working("Loading the model"):
        console.quiet_libraries()
        predictor = predictor_of(model, batch_size, device)
    with console.counting("predicting", len(found.ids) * predictor.passes) as advance:
        predictions = predictor.predict(*found.columns, advance=advance)
    scored = scored_of(run, predictions, found)
    resamples = resamples or num_resamples(len(found.ids))
    with console.counting("resampling", resamples) as advance:
        metrics = intervals(chosen, scored, run.schema, advance=advance, resamples=resamples)
    bins = figures.calibration(scored, run.schema)
    return Assessment(
        run=str(relative_to_here(ensemble.sweep.path.absolute() if ensemble else run.folder.path)),
        task=run.schema.problem_type,
        on=found.name,
        rows=len(found.ids),
        notes=(*(ensemble.sentences() if ensemble else ()), *found.notes),
        labels=run.schema.names,
        metrics=metrics,
        per_label=figures.per_label(scored, run.schema),
        confusion=figures.confusion(scored, run.schema),
        calibration=bins,
        points=figures.points(scored, run.schema),
        hardest=figures.hardest(scored, found, run.schema),
        trials=ensemble.trials if ensemble else (),
        gain=ensemble.gain if ensemble else None,
        confidence=confidence_of(scored, bins, run.schema),
    )


def scored_of(run: SavedRun, predictions: Predictions, found: rows.LabelledRows) -> Scored:
    """Put predictions beside the truth, in the run's label ids.

    Raises:
        DataError: rows that no tokenizer can read.
    """
    import numpy as np

    wrong = {problem for problem in predictions.problems if problem}
    if wrong:
        bad = [row for row, problem in zip(found.ids, predictions.problems, strict=True) if problem]
        raise DataError(
            Fault(found.name, f"Rows have {', '.join(sorted(wrong))}.", bad[:5], fix="Leave them out.")
        )
    names, kind = run.schema.names, run.schema.problem_type
    if kind == TOKENS:
        counted = found.counted or [[True] * len(tags) for tags in predictions.predicted]
        pairs = zip(predictions.predicted, counted, strict=True)
        return Scored([list(compress(tags, counts)) for tags, counts in pairs], found.truth)
    if kind == REGRESSION:
        return Scored(np.array(predictions.predicted), found.truth)
    if kind == MULTI:
        given = np.array([[name in some for name in names] for some in predictions.predicted], int)
        return Scored(given, found.truth, predictions.probabilities)
    assert kind == SINGLE
    ids = np.array([names.index(name) for name in predictions.predicted])
    return Scored(ids, found.truth, predictions.probabilities)


def _metrics(run: SavedRun, trusted: Collection[str]) -> list[str]:
    """Return the names of the run's metrics; those that are somebody's own code are vouched for.

    Raises:
        ConfigError: they aren't.
    """
    given = run.setting("data.metrics")
    if not isinstance(given, list):
        return [*default_metrics(run.schema.problem_type)]
    with strangers(with_own(trusted, run.folder.config)):
        check_trusted(given, "data.metrics")
        find_beside(targets_in(given), Path.cwd())
        return use_own(given)


def _labelled(
    run: SavedRun, words: Sequence[str], split: str, trusted: Collection[str], *, changed: bool
) -> tuple[rows.LabelledRows, str]:
    """Return the rows that the words name, and what the files' name ends with."""
    files = [word for word in words if "=" not in word]
    if len(files) > 1 or (files and len(words) > 1):
        rule = "Give one file, or overrides of the run's data such as data.source.test=new.csv."
        raise DataError(Fault("ROWS", rule, " ".join(words)))
    if split not in SPLITS:
        raise DataError(Fault("--split", "There is no such split.", split, valid=SPLITS))
    if files:
        path = Path(files[0]).expanduser()
        return rows.of_file(run, path), f"-{path.stem}"
    other = ("-other" if words else "") + ("-changed" if changed else "")
    found = rows.of_split(run, split, words, trusted, changed=changed)
    return found, other + ("" if split == "test" else f"-{split}")
