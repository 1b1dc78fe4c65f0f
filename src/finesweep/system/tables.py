"""Tables of text, drawn by rich: one line for each row, at any width."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from finesweep.system.terminal import visible

GAP = 2


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = (), gap: int = GAP) -> list[str]:
    """Return the lines of a table whose rows have equally many cells; nothing is wrapped or cut.

    A cell stays on its line, and control characters in it are shown.

    Args:
        rows: the cells; a heading is a row like others.
        right: numbers of the columns that are aligned to the right.
        gap: spaces between two columns.
    """
    if not rows:
        return []
    cells = [[one_cell(cell) for cell in row] for row in rows]
    table = Table(box=None, show_header=False, show_edge=False, pad_edge=False, padding=(0, gap, 0, 0))
    for place in range(len(cells[0])):
        table.add_column(no_wrap=True, justify="right" if place in right else "left")
    for row in cells:
        table.add_row(*map(Text, row))
    room = sum(max(map(cell_len, column)) + gap for column in zip(*cells, strict=True))
    screen = Console(
        file=io.StringIO(), width=max(1, room), color_system=None, legacy_windows=False, force_jupyter=False
    )
    with screen.capture() as drawn:
        screen.print(table)
    return [line.rstrip() for line in drawn.get().splitlines()]


def one_cell(text: str) -> str:
    """Return a text as it stands in a table: without line ends, its control characters shown."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")
