"""Load saved models with plain peft and transformers and compare their predictions. Folders come on stdin."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import torch
from peft import AutoPeftModelForSequenceClassification, AutoPeftModelForTokenClassification
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    logging,
)

TOLERANCE = 1e-5


def fault_of(folder: Path) -> str:
    """Say how a reloaded model's predictions differ; nothing when they don't."""
    expected = torch.load(folder / "expected.pt", weights_only=True)
    is_tokens = expected["logits"].dim() == 3
    adapter = folder / "adapter"
    if (adapter / "adapter_config.json").is_file():
        kind = AutoPeftModelForTokenClassification if is_tokens else AutoPeftModelForSequenceClassification
        model = kind.from_pretrained(adapter)
    else:
        kind = AutoModelForTokenClassification if is_tokens else AutoModelForSequenceClassification
        model = kind.from_pretrained(adapter)
    model.eval()
    with torch.no_grad():
        logits = model(**expected["inputs"]).logits
    off = float((logits - expected["logits"]).abs().max())
    return "" if off < TOLERANCE else f"its logits are off by {off:.2g}"


def main() -> None:
    """Print one JSON object: folder to fault."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    faults = {}
    for line in sys.stdin.read().split():
        try:
            faults[line] = fault_of(Path(line))
        except Exception as error:  # whatever peft says is the finding
            faults[line] = f"{type(error).__name__}: {error}".splitlines()[0]
    print(json.dumps(faults))


if __name__ == "__main__":
    main()
