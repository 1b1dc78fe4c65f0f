"""`finesweep predict`: rows in, the same rows with predictions out."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.commands.predict import inputs, outputs
from finesweep.commands.predict.columns import Columns
from finesweep.data.checks import listed
from finesweep.errors import DataError, Fault
from finesweep.runs.ensemble import Ensemble
from finesweep.runs.saved import SavedRun
from finesweep.system import console
from finesweep.system.signals import interruptible

if TYPE_CHECKING:
    from finesweep.commands.predict.ensemble import EnsemblePredictor
    from finesweep.commands.predict.predictor import Predictions, Predictor


def predict(
    path: Path,
    source: str | None,
    *,
    texts: Sequence[str] = (),
    output: Path | None = None,
    text_columns: Sequence[str] = (),
    prefix: str = "",
    batch_size: int = 64,
    device: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    json_lines: bool = False,
    top: int | None = None,
    chunk_size: int = inputs.CHUNK,
    trusted: Collection[str] = (),
) -> bool:
    """Predict for every row of an input, and return if all of them have a prediction.

    Args:
        path: a run's folder, or a sweep's.
        source: a file, or `-` for lines on stdin; None with `texts`.
        texts: texts to predict for instead; of a pair both.
        output: a csv, tsv, jsonl or parquet file; left out, lines on stdout.
        text_columns: where the texts are; left out, the columns that the run was trained on.
        prefix: of the names of the columns that are added.
        batch_size: rows in a batch.
        device: as torch calls it.
        delimiter: of a csv file; left out, the one that the run's data had.
        encoding: of a text file; likewise.
        json_lines: print JSON instead of short lines.
        top: of a sweep, average the predictions of so many of its best trials.
        chunk_size: rows that are read, predicted for and written at a time.
        trusted: the target that makes the run's model, where that is a plain module.

    Raises:
        FinesweepError: no complete run, no such file or column, a row that no reader can pass by.
    """
    ensemble = Ensemble.open(path, top, trusted) if top is not None else None
    run = ensemble.best if ensemble else SavedRun.open(path, trusted)
    trials = ensemble.trials if ensemble else ()
    columns = Columns(tuple(text_columns) or run.text_columns, run.schema, prefix, trials)
    _check_arguments(run, source, texts, output, columns)
    rows = _opened(run, source, texts, columns, delimiter, encoding, chunk_size)
    columns.check(rows)
    with console.working("Loading the model"):
        console.quiet_libraries()
        from finesweep.commands.predict.ensemble import predictor_of

        predictor = predictor_of(ensemble or run, batch_size, device)
    if ensemble:
        print(*ensemble.sentences(), sep="\n", file=sys.stderr)
    wrong: dict[str, list[int]] = {}
    total = 0
    with (
        interruptible(),
        _sink(output, rows, columns, json_lines=json_lines) as sink,
        console.counting("predicting", rows.total and rows.total * predictor.passes) as advance,
    ):
        for chunk in rows.chunks:
            found = _of_chunk(predictor, chunk, columns, advance)
            sink.write(list(columns.joined(chunk, found, rows.name)))
            for row, problem in enumerate(found.problems, start=total):
                if problem:
                    wrong.setdefault(problem, []).append(row)
            total += len(chunk.rows)
    _report(total, wrong)
    return not wrong


def _check_arguments(
    run: SavedRun, source: str | None, texts: Sequence[str], output: Path | None, columns: Columns
) -> None:
    if (source is None) == (not texts):
        raise DataError(Fault("INPUT", "Give a file, - for lines on stdin, or --text, and only one of them."))
    if len(columns.texts) != len(run.text_columns):
        rule = f"This run reads {len(run.text_columns)} columns: {', '.join(run.text_columns)}."
        raise DataError(Fault("--text-column", rule, ", ".join(columns.texts)))
    if texts and len(columns.texts) == 2 and len(texts) != 2:
        rule = "This run reads pairs: give --text twice, for the first and the second text."
        raise DataError(Fault("--text", rule))
    if output:
        outputs.check_ending(output)
        if source and source != inputs.LINES and Path(source).resolve() == output.resolve():
            raise DataError(Fault("-o", "It is the input itself.", output, fix="Name another file."))


def _opened(
    run: SavedRun,
    source: str | None,
    texts: Sequence[str],
    columns: Columns,
    delimiter: str | None,
    encoding: str | None,
    size: int,
) -> inputs.Input:
    if source is None:
        rows = [texts] if len(columns.texts) == 2 else [(text,) for text in texts]
        chunk = inputs.Chunk([dict(zip(columns.texts, row, strict=True)) for row in rows])
        return inputs.Input("--text", columns.texts, iter([chunk]), len(rows))
    if source == inputs.LINES:
        return inputs.lines(columns.texts, encoding or "utf-8", size=size)
    own, path = run.file_settings, Path(source).expanduser()
    delimiter = delimiter or (own.get("delimiter") if inputs.kind_of(path) == ".csv" else None)
    encoding = encoding or own.get("encoding") or "utf-8"
    multiline = bool(own.get("multiline"))
    opened = inputs.file(
        path, delimiter, str(encoding), own.get("quote", '"'), multiline=multiline, size=size
    )
    return opened if opened.columns else _with_columns(opened)


def _with_columns(source: inputs.Input) -> inputs.Input:
    """Read the first chunk to learn the columns of what names them in each row."""
    first = next(source.chunks, inputs.Chunk([]))
    names = tuple(dict.fromkeys(name for row in first.rows for name in row))
    return replace(source, columns=names, chunks=itertools.chain([first], source.chunks))


@contextmanager
def _sink(
    output: Path | None, source: inputs.Input, columns: Columns, *, json_lines: bool
) -> Iterator[outputs.Output]:
    if output:
        names = (*source.columns, *columns.added_names)
        with outputs.opened(output, names, [source.schema or [], columns.added]) as file:
            yield file
    else:
        yield outputs.ScreenOutput(columns.texts[0], columns.prefix, json_lines=json_lines)


def _of_chunk(
    predictor: Predictor | EnsemblePredictor, chunk: inputs.Chunk, columns: Columns, advance: Any
) -> Predictions:
    texts = [[row.get(name) for row in chunk.rows] for name in columns.texts]
    if predictor.kind == "words":
        texts = [[text.split() if isinstance(text, str) else text for text in column] for column in texts]
    for position in chunk.problems:  # which the predictor then passes by
        texts[0][position] = None
    found = predictor.predict(*texts, advance=advance)
    reasons = [chunk.problems.get(row, problem) for row, problem in enumerate(found.problems)]
    return replace(found, problems=reasons)


def _report(total: int, wrong: dict[str, list[int]]) -> None:
    """Say on stderr which rows have no prediction."""
    if not wrong:
        return
    count = sum(map(len, wrong.values()))
    print(f"{count:,} of {total:,} rows have no prediction (rows count from 0):", file=sys.stderr)
    for problem, rows in wrong.items():
        print(f"  {len(rows):,} {problem}: {listed(rows)}", file=sys.stderr)
