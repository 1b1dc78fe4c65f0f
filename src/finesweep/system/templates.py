"""Pages and cards are made from templates that stand beside the code that fills them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template


def template(
    package: str, name: str, filters: Mapping[str, Callable[..., Any]] | None = None, *, is_html: bool = True
) -> Template:
    """Return a template in which a name that isn't given is an error; a page can extend `base.html`.

    Args:
        package: where its file is.
        name: the file's.
        filters: by name.
        is_html: whether whatever is put in is escaped.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, "."), PackageLoader("finesweep.system", ".")]),
        autoescape=is_html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= filters or {}
    return environment.get_template(name)
