"""The `finesweep` command, and its verbs that check, train and search; the others are in cli_results.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from finesweep.commands.cli_results import results
from finesweep.commands.options import RUN, AsJson, Trust
from finesweep.commands.reporting import reported_errors
from finesweep.commands.work import Engine, seconds_of
from finesweep.system import distributed
from finesweep.system.console import be_verbose
from finesweep.system.processes import end_quickly
from finesweep.system.redaction import redact_tracebacks
from finesweep.system.terminal import speak_any_locale
from finesweep.system.version import __version__

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Fine-tuning sweeps, from one command to a result you can defend.",
)
app.add_typer(results)


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
