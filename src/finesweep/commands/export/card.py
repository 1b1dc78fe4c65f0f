"""A model card: what a stranger must know of a run, from its folder."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from finesweep.commands.export.origin import Base, data_name, is_hub_data
from finesweep.data.labels import MULTI, REGRESSION, SINGLE, TOKENS
from finesweep.system.records import read_json, read_table
from finesweep.system.redaction import redact
from finesweep.system.templates import template

if TYPE_CHECKING:
    from finesweep.runs.saved import SavedRun

KINDS = {SINGLE: "single", MULTI: "multi", REGRESSION: "regression", TOKENS: "tokens"}
HYPERPARAMETERS = ("learning_rate", "num_train_epochs", "max_steps", "per_device_train_batch_size",
                   "weight_decay", "warmup_steps", "lr_scheduler_type")  # fmt: skip
VERSIONS = ("torch", "transformers", "peft", "datasets")
SPECIAL = str.maketrans({letter: f"\\{letter}" for letter in "\\`*_{}[]<>#|~&$!"})


def card(run: SavedRun, form: str, name: str) -> str:
    """Return a README.md with front matter for the Hub.

    Args:
        run: the run.
        form: merged, adapter or onnx.
        name: what its code loads: USER/NAME on the Hub, or a folder's name.
    """
    result, provenance = read_json(run.folder.result), read_json(run.folder.provenance)
    encoder, kind = run.encoder(), KINDS[run.schema.problem_type]
    filters = {"plain": _plain, "number": _number, "tojson": _quoted, "python": _python_list}
    return template("finesweep.commands.export", "card.md", filters, is_html=False).render(
        front=_front_matter(run, form, name, result["metrics"]),
        title=name.rpartition("/")[2],
        name=name,
        is_on_hub="/" in name,
        form=form,
        kind=kind,
        task=_task(run),
        auto=f"AutoModelFor{'Token' if run.is_tokens else 'Sequence'}Classification",
        base=Base.of(run),
        labels=run.schema.names,
        thresholds=run.thresholds_by_label,
        mean=run.schema.mean,
        scale=run.schema.scale,
        is_pair=len(run.text_columns) == 2,
        metrics={key: value for key, value in result["metrics"].items() if key.count("/") == 1},
        baseline=result.get("baseline", {}),
        parameters=result["parameters"],
        data=data_name(run),
        rows=_rows(run),
        seed=run.setting("seed"),
        hyperparameters=_hyperparameters(run),
        versions={name: provenance["packages"].get(name) for name in VERSIONS},
        finesweep=provenance["finesweep"],
        max_length=encoder.max_length,
        truncated=result.get("truncated", 0.0),
        truncation=encoder.truncation,
        windows=run.is_tokens or encoder.long_text == "windows",
        pooling=encoder.pooling,
    )


def _plain(value: Any) -> str:
    """Return what Markdown shows as it is, on one line."""
    return " ".join(redact(str(value)).split()).translate(SPECIAL)


def _number(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.4f}"


def _quoted(text: str) -> str:
    """Return a Python string, in double quotes, that no Markdown fence ends."""
    return json.dumps(text, ensure_ascii=False).replace("```", "``\\u0060")


def _python_list(names: tuple[str, ...]) -> str:
    return f"[{', '.join(map(_quoted, names))}]"


def _front_matter(run: SavedRun, form: str, name: str, metrics: dict[str, float]) -> str:
    """Return valid YAML, by huggingface_hub's own classes."""
    from huggingface_hub import EvalResult, ModelCardData

    split = "test" if any(key.startswith("test/") for key in metrics) else "validation"
    data, base = data_name(run), Base.of(run)
    evaluations = [
        EvalResult(
            task_type=_task(run),
            dataset_type=data,
            dataset_name=data,
            dataset_split=split,
            metric_type=key.partition("/")[2],
            metric_value=round(value, 6),
        )
        for key, value in metrics.items()
        if key.startswith(f"{split}/") and key.count("/") == 1 and not math.isnan(value)
    ]
    return ModelCardData(
        base_model=base.name if base.kind == "hub" else None,
        base_model_relation={"adapter": "adapter"}.get(form, "finetune") if base.kind == "hub" else None,
        datasets=[data] if is_hub_data(run) else None,
        library_name={"adapter": "peft", "onnx": "onnx"}.get(form, "transformers"),
        pipeline_tag=_task(run),
        tags=["finesweep", *_method_tag(run)],
        model_name=name.rpartition("/")[2],
        eval_results=evaluations,
    ).to_yaml()


def _task(run: SavedRun) -> str:
    return "token-classification" if run.is_tokens else "text-classification"


def _method_tag(run: SavedRun) -> list[str]:
    if not run.is_adapter:
        return []
    return [read_json(run.folder.adapter / "adapter_config.json")["peft_type"].lower().replace("_", "-")]


def _hyperparameters(run: SavedRun) -> dict[str, Any]:
    trainer, method = run.setting("trainer", {}), run.setting("peft", {})
    kind = str(method.get("_target_")).rpartition(".")[2].removesuffix("Config")
    own = {f"peft.{key}": value for key, value in method.items() if key[0] != "_" and value is not None}
    return {
        "method": kind,
        **{key: trainer[key] for key in HYPERPARAMETERS if trainer.get(key) is not None},
        **own,
    }


def _rows(run: SavedRun) -> dict[str, int]:
    """Return the number of rows of each split."""
    return Counter(read_table(run.folder.splits, ("split",))["split"])
