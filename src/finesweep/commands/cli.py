"""The `finesweep` command: everything one does with a config or a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from finesweep.commands.export import Form
from finesweep.commands.reporting import reported_errors
from finesweep.commands.work import Engine, seconds_of
from finesweep.system import distributed
from finesweep.system.console import be_verbose
from finesweep.system.processes import end_quickly
from finesweep.system.redaction import redact_tracebacks
from finesweep.system.terminal import speak_any_locale, typed_text, visible
from finesweep.system.version import __version__

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Fine-tuning sweeps, from one command to a result you can defend.",
)
# The groups of the help.
RUN, USE, LOOK, KEEP = "Train and search", "Use and share", "Judge and compare", "Find and tidy up"
# What several commands take, in the same words.
RunOrSweep = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run's folder, or a sweep's: then its best trial's.")
]
Sweep = Annotated[Path, typer.Argument(metavar="SWEEP", help="A sweep's folder; it may still be running.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else.")]
To = Annotated[Form, typer.Option(help="A plain transformers model, the adapter alone, or ONNX.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Rows in a batch.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; else a GPU if there is one.")]
Top = Annotated[int | None, typer.Option(min=1, help="Of a sweep: the mean of so many of its best trials.")]
Trust = Annotated[
    list[str] | None, typer.Option(help="A target of what was saved that you vouch for; repeatable.")
]


def _show_version(asked: bool) -> None:
    if asked:
        print(f"finesweep {__version__}")
        raise typer.Exit


@app.callback()
def _commands(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show what the libraries underneath say.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Be all the processes that `accelerate launch` was asked for."""
    if verbose:
        be_verbose()
    distributed.start_missing()
    speak_any_locale()
    end_quickly()
    redact_tracebacks()


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    help="Fine-tune, or search with -m: the same as `python train.py`. Try `finesweep train --help`.",
    rich_help_panel=RUN,
)
def train(context: typer.Context) -> None:
    """Hand the rest of the command line to Hydra."""
    from finesweep.commands.train import train

    train(context.args)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, rich_help_panel=RUN)
def reproduce(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    trust: Trust = None,
) -> None:
    """Repeat a finished run in a new folder and compare, to the last bit.

    Exit code 0: every metric and the adapter are equal. 1: they differ, and what differs is shown. A secret
    that was masked when the run was saved is given again, as key=value.

    Example: finesweep reproduce outputs/runs/bbc-news_minilm_lora/20260101-120000-1a2b3c
    """
    from finesweep.runs.reproduce import reproduce

    with reported_errors():
        equal = reproduce(run, context.args, trust or ())
    raise typer.Exit(0 if equal else 1)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, rich_help_panel=RUN)
def resume(
    context: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Argument(help="A sweep's or a run's folder; left out, the newest unfinished sweep."),
    ] = None,
    trust: Trust = None,
) -> None:
    """Finish a sweep or a run that was cut off; nothing is done twice.

    More words are added to a sweep's command line. A run takes resume=auto: begin anew if its checkpoints are
    damaged.

    Example: finesweep resume outputs/sweeps/my-study hydra.sweeper.n_trials=30
    """
    from finesweep.commands.resume import resume

    with reported_errors():
        resume(folder, context.args, trust or ())


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, rich_help_panel=RUN)
def work(
    context: typer.Context,
    sweep: Annotated[
        Path, typer.Argument(metavar="SWEEP", help="A sweep's folder, which this machine sees.")
    ],
    limit: Annotated[
        float | None,
        typer.Option("--for", metavar="TIME", parser=seconds_of, help="End after so long: 55m, 1h30m."),
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="End after so many trials.")] = None,
    engine: Annotated[
        Engine | None, typer.Option("--as", help="Print a batch file with the sweep's values instead.")
    ] = None,
    trust: Trust = None,
) -> None:
    """Join a sweep from any shell, job or machine, and take trials until none is left.

    Whoever is last tests the winner and writes the results. SIGTERM, Ctrl-C, SIGUSR1 and the end of --for
    save the trials and give them back.
    Exit code 0: the sweep is over. 75: trials are left; a batch system starts this again.

    Example: finesweep work outputs/sweeps/my-study --for 55m
    """
    from finesweep.commands.work import batch, command

    with reported_errors():
        if engine is not None:
            print(batch.batch_file(sweep, engine), end="")
            return
        command.work(sweep, seconds=limit, trials=trials, overrides=context.args, trusted=trust or ())


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, rich_help_panel=RUN)
def data(
    overrides: Annotated[
        list[str] | None, typer.Argument(help="As for `python train.py`: group=choice, key=value.")
    ] = None,
    as_json: AsJson = False,
    page: Annotated[Path | None, typer.Option(help="Write an HTML page with the histograms.")] = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Measure a linear model on the frozen encoder too: seconds.")
    ] = False,
) -> None:
    """Look at what a run would learn from, without training.

    Splits, labels, the score of a constant answer, lengths, copies, examples, and whether a run would start.

    Example: finesweep data data=csv data.source.train=rows.csv --page data.html
    """
    from finesweep.commands.data.command import look

    look(overrides or [], as_json=as_json, page=page, with_probe=probe)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, rich_help_panel=RUN)
def validate(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="OVERRIDES", help="As for `python train.py`: group=choice, key=value."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check everything that can be known of a run without training it; only the cache of tokens is written.

    Config, data, labels, tokenizer, model, what the method attaches to, what it trains, memory.
    Exit code 0: a run would start. 1 or 2: it wouldn't, and every reason is shown.

    Example: finesweep validate model=bert-base peft=dora data=csv data.source.train=rows.csv
    """
    from finesweep.commands.validate import validate

    with reported_errors():
        validate(overrides or [], as_json=as_json)


@app.command(rich_help_panel=USE)
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


@app.command(rich_help_panel=LOOK)
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


@app.command(rich_help_panel=USE)
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


@app.command(rich_help_panel=USE)
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


@app.command(rich_help_panel=LOOK)
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


@app.command(rich_help_panel=LOOK)
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


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, rich_help_panel=RUN)
def confirm(
    context: typer.Context,
    sweep: Annotated[Path, typer.Argument(metavar="SWEEP", help="A sweep's folder.")],
    top: Annotated[int, typer.Option(min=1, help="How many of its best configurations.")] = 3,
    seeds: Annotated[int, typer.Option(min=2, help="How many fresh seeds each is trained with.")] = 5,
    trust: Trust = None,
    as_json: AsJson = False,
) -> None:
    """Retrain a sweep's best with fresh seeds, test each run, and say whether the winner really wins.

    The config that nobody tuned takes part. The same command goes on where it was cut off, and with more
    --seeds it adds to them. Written to confirm.json and into the report; more words go to the command line.

    Example: finesweep confirm outputs/sweeps/my-study --seeds 10 hydra.sweeper.n_jobs=2
    """
    from finesweep.commands.confirm import command

    with reported_errors():
        command.confirm(sweep, top, seeds, context.args, trust or (), as_json=as_json)


@app.command(rich_help_panel=LOOK)
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


@app.command(rich_help_panel=RUN)
def methods(
    model: Annotated[
        str | None, typer.Option(help="A choice of conf/model, a folder, or a family such as roberta.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the PEFT methods, and what each can do on which family of encoders, as measured.

    Example: finesweep methods --model minilm
    """
    from finesweep.commands import methods as listing

    with reported_errors():
        if as_json:
            print(listing.as_json(model))
        else:
            listing.show(model)


@app.command(rich_help_panel=KEEP)
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


@app.command(rich_help_panel=KEEP)
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
