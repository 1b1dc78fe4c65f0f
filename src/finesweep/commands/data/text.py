"""The report on a terminal, and as plain lines elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from finesweep.commands.data.bins import Bin
from finesweep.commands.data.distribution import QUARTILES, Distribution
from finesweep.commands.data.report import Report
from finesweep.data.labels import MULTI, REGRESSION
from finesweep.system.terminal import shortened

PLAIN_WIDTH = 110
MOST_LABELS = 20
MOST_EXAMPLES = 10
MARGIN = 10
NAME_WIDTH = 20
CELL_WIDTH = 16
BAR_WIDTH = 30


def lines_of(report: Report, width: int | None = None) -> Iterator[str]:
    """Yield the report's lines.

    Args:
        report: what to show.
        width: of the terminal; None where there is none.
    """
    width = width or PLAIN_WIDTH
    yield from _section("data", _task(report))
    yield from _section("warnings", report.warnings)
    yield from _section("labels", _labels(report, width))
    yield from _section("baseline", _beside(report, "an answer that doesn't read the text", report.baseline))
    if report.probe:
        yield from _section("probe", _beside(report, "a linear model on the frozen encoder", report.probe))
    yield from _section("tokens", _lengths(report))
    yield from _section("examples", _examples(report, width))
    yield ""
    yield f"A run would start: {report.command}"
    if not report.probe:
        yield "It would load the model and the adapter first; these were not tried."


def one_line(text: str, most: int) -> str:
    """Return a text without line ends and control characters, shortened to `most` characters."""
    return shortened(_printable(text), most)


def bin_name(bin_: Bin) -> str:
    """Return "17-32", "more than 512" or, for numbers that aren't whole, "0.5 to 1"."""
    if bin_.last is None:
        return f"more than {bin_.first - 1:,}"
    if isinstance(bin_.first, int):
        return f"{bin_.first:,}" if bin_.first == bin_.last else f"{bin_.first:,}-{bin_.last:,}"
    return f"{bin_.first:.4g} to {bin_.last:.4g}"


def task_of(report: Report) -> str:
    """Return "single-label classification of 3 labels"."""
    words = report.problem_type.replace("single_label", "single-label").replace("multi_label", "multi-label")
    count = len(report.labels)
    what = f"of {one_line(report.labels[0], NAME_WIDTH)}" if words == "regression" else f"with {count} labels"
    return f"{words.replace('_', ' ')} {what}"


def number(value: float) -> str:
    """Return a metric or a target in a few digits; a dash where it has no value."""
    return "-" if math.isnan(value) else f"{value:.4g}"


def _section(name: str, lines: Iterable[str]) -> Iterator[str]:
    for i, line in enumerate(lines):
        if i == 0:
            yield ""
        yield f"{name if i == 0 else '':<{MARGIN}}{_printable(line)}".rstrip()


def _printable(text: str) -> str:
    """Replace control characters, which could take over the terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


def _task(report: Report) -> Iterator[str]:
    yield task_of(report)
    yield ", ".join(f"{part.rows:,} {split}" for split, part in report.splits.items())
    yield from report.notes
    if report.class_weights:
        weights = ", ".join(f"{one_line(k, NAME_WIDTH)} {v:.3g}" for k, v in report.class_weights.items())
        yield f"labels count in the loss: {weights}"


def _labels(report: Report, width: int) -> Iterator[str]:
    parts = report.splits
    if report.problem_type == REGRESSION:
        yield from _numbers(parts)
        return
    yield from _table(report.labels, parts, width - MARGIN)
    if report.problem_type == MULTI:
        yield _row("no label", [f"{part.unlabelled:,}" for part in parts.values()])
    if any(part.spans for part in parts.values()):
        yield _row("spans", [])
        for type_ in next(iter(parts.values())).spans:
            yield _row(f"  {type_}", [f"{part.spans[type_]:,}" for part in parts.values()])


def _table(names: Sequence[str], parts: dict[str, Distribution], width: int) -> Iterator[str]:
    yield _row("", list(parts))
    room = max(0, min(BAR_WIDTH, width - len(_row("", list(parts))) - 2))
    for name in names[:MOST_LABELS]:
        cells = [f"{part.counts[name]:,} {part.share(name):6.1%}" for part in parts.values()]
        yield f"{_row(name, cells)}  {_bar(parts['train'].share(name), room)}"
    if len(names) > MOST_LABELS:
        yield f"and {len(names) - MOST_LABELS} more; --json and --page have them all"


def _numbers(parts: dict[str, Distribution]) -> Iterator[str]:
    yield _row("", list(parts))
    for name in (*QUARTILES, "mean"):
        yield _row(name.replace("_", " "), [number(part.numbers[name]) for part in parts.values()])
    yield ""
    yield "train"
    yield from _bars(parts["train"].bins)


def _beside(report: Report, what: str, splits: dict[str, dict[str, float]]) -> Iterator[str]:
    yield f"metrics of {what}; a run must beat them"
    width = max(NAME_WIDTH, *(len(metric) for metric in report.metrics))
    yield _row("", list(splits), width)
    for metric in report.metrics:
        cells = [number(values[metric]) for values in splits.values()]
        yield _row(metric, cells, width) + ("  objective" if metric == report.objective else "")


def _lengths(report: Report) -> Iterator[str]:
    found = report.lengths
    yield f"{found.shortest:,} to {found.longest:,} in a text, half have at most {found.median:,}"
    yield from _bars(found.bins)
    yield ""
    yield "max_length" + "".join(f"{limit:>8,}" for limit in found.longer_than)
    verb = "is cut    " if found.windows is None else "is longer "
    yield verb + "".join(f"{share:>8.1%}" for share in found.longer_than.values())
    yield f"tokenizer.max_length is {found.max_length}; {found.covers_95} covers 95% of the texts"
    if found.windows is not None:
        rows = sum(part.rows for part in report.splits.values())
        yield f"nothing is cut: {rows:,} texts are read in {found.windows:,} windows"


def _examples(report: Report, width: int) -> Iterator[str]:
    for name, examples in list(report.examples.items())[:MOST_EXAMPLES]:
        yield one_line(name, width - MARGIN)
        for example in examples:
            cut = f" ({example.tokens:,} tokens)" if example.is_cut else ""
            label = f"{example.label}: " if report.problem_type == REGRESSION else ""
            yield f"  {one_line(label + example.text, width - MARGIN - 2 - len(cut))}{cut}"
    if len(report.examples) > MOST_EXAMPLES:
        yield f"and of {len(report.examples) - MOST_EXAMPLES} more labels; --json and --page have them all"


def _row(name: str, cells: Sequence[str], name_width: int = NAME_WIDTH) -> str:
    shown = one_line(name, name_width) if name.strip() == name else name
    return f"{shown:<{name_width}}" + "".join(f" {cell:>{CELL_WIDTH - 1}}" for cell in cells)


def _bars(bins: Sequence[Bin]) -> Iterator[str]:
    most = max(bin_.rows for bin_ in bins)
    for bin_ in bins:
        yield f"{bin_name(bin_):<{NAME_WIDTH}}{_bar(bin_.rows / most)} {bin_.rows:,}"


def _bar(share: float, room: int = BAR_WIDTH) -> str:
    return "█" * min(room, max(round(share * room), 1 if share else 0))
