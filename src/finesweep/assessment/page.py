"""An evaluation as one HTML file that needs nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finesweep.assessment.text import interval_text, shortened

if TYPE_CHECKING:
    from finesweep.assessment.command import Assessment

SHOWN_CHARACTERS = 600
# The calibration curve's square, in the units of its viewBox.
SIDE = 240


def render(found: Assessment) -> str:
    """Return the page; whatever comes from the data is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("finesweep.assessment", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"interval": interval_text, "shortened": shortened}
    points = [
        (round(SIDE * bin.confidence, 1), round(SIDE * (1 - bin.accuracy), 1), bin)
        for bin in found.calibration
    ]
    return environment.get_template("page.html").render(
        found=found, points=points, side=SIDE, characters=SHOWN_CHARACTERS
    )
