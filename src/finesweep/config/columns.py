"""Columns that the header line of a delimited file doesn't have: known before anything else is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from finesweep.config.origin import Origin
from finesweep.data.sources.delimited import header_of
from finesweep.errors import Fault, FinesweepError, nearest

DELIMITED = {"finesweep.data.sources.csv": ",", "finesweep.data.sources.tsv": "\t"}


def column_rule(config: dict[str, Any], origin: Origin) -> Iterator[Fault]:
    """Find the columns of texts and labels that aren't in the training file."""
    data = config.get("data")
    source = data.get("source") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(source, dict) or not isinstance(source.get("train"), str):
        return
    delimiter = DELIMITED.get(str(source.get("_target_")))
    if delimiter is None:
        return
    try:
        settings = {name: source[name] for name in ("delimiter", "quote", "encoding") if name in source}
        header = header_of(source["train"], **{"delimiter": delimiter, **settings})
    except FinesweepError:
        return  # whoever reads the file says what is wrong with it
    for key in ("text_column", "label_column") if header else ():
        names = data.get(key)
        for name in names if isinstance(names, list) else [names]:
            if isinstance(name, str) and name not in header:
                rule = f"The file has no such column. {nearest(name, header)}".strip()
                yield Fault(f"data.{key}", rule, name, origin.of(f"data.{key}"), valid=tuple(header))
