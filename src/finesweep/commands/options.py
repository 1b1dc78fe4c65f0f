"""What several verbs of the `finesweep` command take, in the same words; the groups of its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from finesweep.commands.export import Form

RUN, USE, LOOK, KEEP = "Train and search", "Use and share", "Judge and compare", "Find and tidy up"

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
