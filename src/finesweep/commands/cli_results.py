"""The verbs of the `finesweep` command for what was trained already: use it, judge it, tidy it up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from finesweep.commands.export import Form
from finesweep.commands.options import (
    KEEP,
    LOOK,
    USE,
    AsJson,
    BatchSize,
    Device,
    RunOrSweep,
    Sweep,
    To,
    Top,
    Trust,
)
from finesweep.commands.reporting import reported_errors
from finesweep.system.terminal import typed_text, visible

results = typer.Typer()


@results.command(rich_help_panel=USE)
def predict(
    run: RunOrSweep,
    source: Annotated[
        str | None,
        typer.Argument(metavar="INPUT", help="A csv, tsv, jsonl or parquet file; - for lines on stdin."),
    ] = None,
    text: Annotated[
        list[str] | None, typer.Option(help="A text instead of INPUT; repeatable; twice for a pair.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A csv, tsv, jsonl or parquet file, by its ending.")
    ] = None,
    text_column: Annotated[
        list[str] | None,
        typer.Option(help="Where the texts are; else the column that the run was trained on."),
    ] = None,
    prefix: Annotated[str, typer.Option(help="Of the names of the columns that are added.")] = "",
    top: Top = None,
    batch_size: BatchSize = 64,
    device: Device = None,
    delimiter: Annotated[
        str | None, typer.Option(help="Of a csv file; else as in the run's own data.")
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Of a text file; else as in the run's own data.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each row.")] = False,
    trust: Trust = None,
) -> None:
    """Predict labels for new rows: each row as it was, the predicted label, its score, every probability.

    Without -o a line for each row is printed: label, score, text. A file that -o names is replaced. Any
    number of rows fits into memory. With --top 3 the best three trials' probabilities are averaged, and the
    column `trials` says which they are.
    Exit code 0: every row has a prediction. 3: some have none; they are marked, and listed on stderr.

    Example: finesweep predict outputs/sweeps/my-study new.csv -o predicted.csv
    """
    from finesweep.commands.predict.command import predict

    with reported_errors():
        complete = predict(
            run,
            source,
            texts=[*map(typed_text, text or ())],
            output=output,
            text_columns=text_column or (),
            prefix=prefix,
            batch_size=batch_size,
            device=device,
            delimiter=delimiter,
            encoding=encoding,
            json_lines=as_json,
            trusted=trust or (),
            top=top,
        )
    raise typer.Exit(0 if complete else 3)


@results.command(rich_help_panel=LOOK)
def evaluate(
    run: RunOrSweep,
    rows: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE|OVERRIDES",
            help="A csv, tsv, jsonl or parquet file with labels; or overrides of the run's data.",
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="test, validation or train.")] = "test",
    top: Top = None,
    label_errors: Annotated[
        bool,
        typer.Option("--label-errors", help="Of a sweep over folds: likely wrong labels."),
    ] = False,
    changed: Annotated[
        bool, typer.Option("--changed", help="Take the run's data though they changed.")
    ] = False,
    batch_size: BatchSize = 64,
    device: Device = None,
    trust: Trust = None,
    as_json: AsJson = False,
) -> None:
    """Look closely at a finished run: metrics with intervals, labels, confusions, calibration, hardest rows.

    Written to evaluation.json and evaluation.html in the run's folder; for a file F to evaluation-F.json.
    With --top 3 it is the mean of a sweep's best three trials, and evaluation-top3 in the sweep's folder;
    with --label-errors it is label-errors.csv and label-errors.html there.

    Example: finesweep evaluate outputs/sweeps/my-study last-week.csv
    """
    from finesweep.commands.evaluate import command

    with reported_errors():
        if label_errors:
            others = rows or top or changed or split != "test"
            command.list_label_errors(run, trust or (), is_alone=not others, as_json=as_json)
            return
        command.evaluate(
            run,
            rows or [],
            split=split,
            top=top,
            changed=changed,
            trusted=trust or (),
            batch_size=batch_size,
            device=device,
            as_json=as_json,
        )


@results.command(rich_help_panel=USE)
def export(
    run: RunOrSweep,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to make.")],
    to: To = Form.merged,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT, an earlier export.")] = False,
) -> None:
    """Write a run's model, tokenizer and model card into a folder that loads without finesweep.

    ONNX is verified: its logits must equal the model's to 1e-4 on texts of many lengths. What prompts add is
    no weight and can't be merged; such a run has --to adapter and --to onnx.

    Example: finesweep export outputs/sweeps/my-study my-model --to onnx
    """
    from finesweep.commands.export import command

    with reported_errors():
        print(f"{out}: {command.export(run, out, to, overwrite=overwrite)}")


@results.command(rich_help_panel=USE)
def push(
    run: RunOrSweep,
    repo: Annotated[
        str, typer.Argument(metavar="REPO", help="USER/NAME on the Hub; made if it isn't there.")
    ],
    to: To = Form.merged,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and send nothing.")] = False,
) -> None:
    """Send a run's model, tokenizer and card to the Hub; never a checkpoint, a log or a secret.

    Example: finesweep push outputs/sweeps/my-study me/bbc-news --dry-run
    """
    from finesweep.commands.export import command

    with reported_errors():
        print(command.push(run, repo, to, private=private, dry_run=dry_run))


@results.command(rich_help_panel=LOOK)
def dashboard(
    sweep: Sweep,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 0,
    trust: Trust = None,
) -> None:
    """Open optuna-dashboard on a sweep's study, on this machine alone, until Ctrl-C.

    Example: finesweep dashboard outputs/sweeps/my-study
    """
    from finesweep.commands.report.dashboard import serve

    with reported_errors():
        serve(sweep, port, trust or ())


@results.command(rich_help_panel=LOOK)
def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER", help="Run folders, sweep folders, or folders of them."),
    ],
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_markdown: Annotated[bool, typer.Option("--md", help="Print Markdown.")] = False,
) -> None:
    """Put runs beside each other: how their configs differ, metrics over seeds, size, time, and what is luck.

    Runs that differ in their seed alone are one row. The best is held against each other on the same rows.

    Example: finesweep compare outputs/runs/bbc-news_minilm_lora outputs/sweeps/my-study --md
    """
    from finesweep.commands.compare import command

    with reported_errors():
        write = command.writer(csv=as_csv, json=as_json, md=as_markdown)
        print(visible(write(command.compare(folders)).rstrip()))


@results.command(rich_help_panel=LOOK)
def report(
    sweep: Sweep,
    trust: Trust = None,
    as_json: AsJson = False,
) -> None:
    """Write a sweep's report.html, report.md and pictures/*.png into its folder.

    The page needs no network: figures, leaderboard, the best configuration and its commands, provenance.

    Example: finesweep report outputs/sweeps/my-study
    """
    from finesweep.commands.report import command

    with reported_errors():
        command.show(sweep, trust or (), as_json=as_json)


@results.command(rich_help_panel=KEEP)
def ls(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A folder with runs and sweeps, or one sweep.")
    ] = Path("outputs"),
    as_json: AsJson = False,
) -> None:
    """List runs and sweeps: state, objective, age, size; the newest last.

    Example: finesweep ls outputs/sweeps/my-study
    """
    from finesweep.commands import listing

    with reported_errors():
        listing.show(listing.entries(path), as_json=as_json)


@results.command(rich_help_panel=KEEP)
def clean(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder with runs and sweeps.")] = Path(
        "outputs"
    ),
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove the checkpoints of finished runs and trials, after asking; never a result.

    With --json nothing is asked: without --yes nothing is removed either. Exit code 1: the answer was no.

    Example: finesweep clean outputs/sweeps/my-study --yes
    """
    from finesweep.commands import listing

    with reported_errors():
        if as_json:
            listing.clean_as_json(path, yes=yes)
        else:
            listing.clean(path, ask=None if yes else lambda: typer.confirm("Remove them?", abort=True))
