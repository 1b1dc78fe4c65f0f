"""`finesweep evaluate SWEEP --label-errors`: rows whose given label held-out models contradict most."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Collection
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from finesweep.commands.evaluate.held_out import HeldOut, read_held_out
from finesweep.metrics.label_errors import find_label_errors
from finesweep.system import console
from finesweep.system.files import write_text
from finesweep.system.paths import relative_to_here
from finesweep.system.sweep_folder import SweepFolder
from finesweep.system.tables import aligned
from finesweep.system.templates import template
from finesweep.system.terminal import shortened

SHOWN_ROWS, SHOWN_PAIRS, SHOWN_CHARACTERS = 10, 10, 76
ON_A_PAGE, CHARACTERS_ON_A_PAGE = 200, 600
DIGITS = 6  # of a probability


@dataclass(frozen=True)
class Suspect:
    """A row whose label is likely wrong.

    Args:
        id: its number in the source.
        label: the given one.
        suggested: what the models say.
        p_label: their probability of the given one.
        p_suggested: that of the suggested one.
        margin: the first less that of the likeliest other; the lower, the likelier is an error.
        fold: which it is of.
        text: what it reads.
    """

    id: int
    label: str
    suggested: str
    p_label: float
    p_suggested: float
    margin: float
    fold: int
    text: str


@dataclass(frozen=True)
class Suspects:
    """What held-out models say against a data set's labels.

    Args:
        sweep: whose models they are.
        rows: how many were looked at.
        notes: whose predictions these are, and what was left out.
        found: the rows, the likeliest error first.
    """

    sweep: str
    rows: int
    notes: tuple[str, ...]
    found: list[Suspect]

    @property
    def headline(self) -> str:
        """How many there are."""
        count = f"{len(self.found):,} of {self.rows:,} rows"
        return f"{count} have a label that models contradict which weren't trained with it"

    @property
    def pairs(self) -> list[tuple[str, str, int]]:
        """Given label, suggested label, and how many rows; the most frequent first."""
        counts = Counter((one.label, one.suggested) for one in self.found)
        return [(given, other, count) for (given, other), count in counts.most_common()]


def label_errors(path: Path, trusted: Collection[str] = (), *, as_json: bool = False) -> Suspects:
    """Write label-errors.csv and label-errors.html into a sweep's folder, and print the likeliest errors.

    Args:
        path: the folder of a sweep over folds.
        trusted: targets, beyond finesweep's own, that its configs may call.
        as_json: print JSON on stdout, and nothing else.

    Raises:
        FinesweepError: see `read_held_out`.
    """
    path = path.expanduser()
    with redirect_stdout(sys.stderr if as_json else sys.stdout), console.working("Reading the folds"):
        suspects = suspects_of(str(relative_to_here(path.absolute())), read_held_out(path, trusted))
    files = SweepFolder(path)
    write_text(files.label_errors, as_csv(suspects))
    write_text(files.label_errors_page, render(suspects))
    if as_json:
        print(json.dumps(asdict(suspects), indent=1))
    else:
        places = [relative_to_here(file.absolute()) for file in (files.label_errors, files.label_errors_page)]
        lines = [*lines_of(suspects), "", f"All of them are in {places[0]}; the page is {places[1]}"]
        console.make_console().print("\n".join(lines), markup=False)
    return suspects


def suspects_of(sweep: str, held: HeldOut) -> Suspects:
    """Find the rows whose label the models of other folds contradict."""
    errors, names = find_label_errors(held.probabilities, held.given), held.schema.names
    numbers = ", ".join(map(str, held.trials))
    notes = [f"Each row is predicted by trials that weren't trained with it, of {numbers}."]
    if held.missing:
        missing = ", ".join(map(str, held.missing))
        notes.append(f"Folds without a complete trial are left out: {missing}.")
    found = []
    triples = zip(errors.rows.tolist(), errors.suggested.tolist(), errors.margins.tolist(), strict=True)
    for row, suggested, margin in triples:
        given, shares = int(held.given[row]), held.probabilities[row]
        suspect = Suspect(
            id=held.ids[row],
            label=names[given],
            suggested=names[suggested],
            p_label=round(float(shares[given]), DIGITS),
            p_suggested=round(float(shares[suggested]), DIGITS),
            margin=round(margin, DIGITS),
            fold=held.folds[row],
            text=held.texts[row],
        )
        found.append(suspect)
    return Suspects(sweep, len(held.ids), tuple(notes), found)


def as_csv(suspects: Suspects) -> str:
    """Return every row, the likeliest error first."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Suspect)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(one) for one in suspects.found)
    return text.getvalue()


def lines_of(suspects: Suspects) -> list[str]:
    """Return the lines to print."""
    lines = [f"{suspects.sweep}: {suspects.headline}", *suspects.notes]
    if not suspects.found:
        return lines
    pairs = [(given, other, f"{count:,}") for given, other, count in suspects.pairs[:SHOWN_PAIRS]]
    lines += ["", *aligned([("given", "models say", "rows"), *pairs], right=[2])]
    lines += ["", "Likeliest errors:"]
    for one in suspects.found[:SHOWN_ROWS]:
        said = f"models say {one.suggested} ({one.p_suggested:.2f})"
        given = f"  row {one.id}: given {one.label} ({one.p_label:.2f})"
        lines.append(shortened(f"{given}; {said}", SHOWN_CHARACTERS))
        lines.append(f"    {shortened(one.text, SHOWN_CHARACTERS)}")
    return lines


def render(suspects: Suspects) -> str:
    """Return the page; whatever comes from the data is escaped."""
    page = template("finesweep.commands.evaluate", "label_errors.html", {"shortened": shortened})
    return page.render(suspects=suspects, most=ON_A_PAGE, characters=CHARACTERS_ON_A_PAGE)
