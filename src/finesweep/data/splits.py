"""Stratified splits that depend on the rows' content and a seed, and on nothing else."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Sequence

from finesweep.errors import DataError, Fault


def stratified_split(
    contents: Sequence[str], labels: Sequence[Hashable], shares: dict[str, float], seed: int
) -> dict[str, list[int]]:
    """Cut shares of the rows into splits of their own; what is left is `train`.

    Within each label, rows are ordered by a hash of the seed and their content, and the first ones
    go to the splits. So the same rows give the same splits whatever their order in the file, and
    copies of one text land on the same side.

    Args:
        contents: (rows,), the text of each row.
        labels: (rows,).
        shares: the share of all rows for each split to make, such as {"validation": 0.1}.
        seed: another seed gives another split.

    Returns:
        Row numbers in ascending order for train and each split.

    Raises:
        DataError: a split would be empty.
    """
    by_label: dict[Hashable, dict[bytes, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, (content, label) in enumerate(zip(contents, labels, strict=True)):
        by_label[label][_key(content, seed)].append(row)
    splits: dict[str, list[int]] = {name: [] for name in (*shares, "train")}
    for groups in by_label.values():
        ordered = [groups[key] for key in sorted(groups)]
        total, start = sum(map(len, ordered)), 0
        for name, share in shares.items():
            start = _take(ordered, start, round(share * total), splits[name])
        for group in ordered[start:]:
            splits["train"] += group
    for name, rows in splits.items():
        if not rows:
            share = shares.get(name, 1 - sum(shares.values()))
            rule = (
                f"The {name} split would be empty: {share:.3g} of {len(contents)} rows, cut label by label."
            )
            key = f"data.split.{name}" if name != "train" else "data.split"
            raise DataError(Fault(key, rule, fix="Raise its share, or bring more rows."))
    return {name: sorted(rows) for name, rows in splits.items()}


def _take(groups: list[list[int]], start: int, count: int, into: list[int]) -> int:
    taken = 0
    while taken < count and start < len(groups):
        into += groups[start]
        taken += len(groups[start])
        start += 1
    return start


def _key(content: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{content}".encode("utf-8", "surrogatepass")).digest()
