"""A model card: what a stranger must know of a run, from its folder."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from finesweep.data.labels import MULTI, REGRESSION, SINGLE, TOKENS
from finesweep.export.weights import base_of
from finesweep.paths import PACKAGE_SCHEME
from finesweep.redaction import redact
from finesweep.rundir import read_json

if TYPE_CHECKING:
    from finesweep.saved import SavedRun

TASKS = {SINGLE: "text-classification", MULTI: "text-classification", REGRESSION: "text-classification",
         TOKENS: "token-classification"}  # fmt: skip
HYPERPARAMETERS = ("learning_rate", "num_train_epochs", "max_steps", "per_device_train_batch_size",
                   "weight_decay", "warmup_steps", "lr_scheduler_type")  # fmt: skip
VERSIONS = ("torch", "transformers", "peft", "datasets")
SPECIAL = str.maketrans({letter: f"\\{letter}" for letter in "\\`*_{}[]<>#|~"})


def card(run: SavedRun, form: str, name: str) -> str:
    """Return a README.md with front matter for the Hub.

    Args:
        run: the run.
        form: merged, adapter or onnx.
        name: the model's.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("finesweep.export", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["plain"] = lambda value: " ".join(str(value).split()).translate(SPECIAL)
    result, provenance = read_json(run.folder.result), read_json(run.folder.provenance)
    text = environment.get_template("card.md").render(
        front=_front_matter(run, form, name, result),
        name=name,
        form=form,
        run=run,
        base=_base_name(run),
        source=base_of(run),
        metrics={key: value for key, value in result["metrics"].items() if key.count("/") == 1},
        baseline=result.get("baseline", {}),
        parameters=result["parameters"],
        truncated=result.get("truncated", 0.0),
        rows=_rows(run),
        seed=run.setting("seed"),
        hyperparameters=_hyperparameters(run),
        versions={name: provenance["packages"].get(name) for name in VERSIONS},
        finesweep=provenance.get("finesweep"),
        max_length=run.encoder().max_length,
        is_pair=len(run.text_columns) == 2,
        task=TASKS[run.schema.problem_type],
    )
    return redact(text)


def _front_matter(run: SavedRun, form: str, name: str, result: dict[str, Any]) -> str:
    """Return valid YAML, by huggingface_hub's own classes."""
    from huggingface_hub import EvalResult, ModelCardData

    split = "test" if any(key.startswith("test/") for key in result["metrics"]) else "validation"
    task, data = TASKS[run.schema.problem_type], _data_name(run)
    evaluations = [
        EvalResult(
            task_type=task,
            dataset_type=data,
            dataset_name=data,
            dataset_split=split,
            metric_type=key.partition("/")[2],
            metric_value=round(value, 6),
        )
        for key, value in result["metrics"].items()
        if key.startswith(f"{split}/") and key.count("/") == 1 and value == value
    ]
    base = run.setting("model.name")
    is_hub = not base.startswith((PACKAGE_SCHEME, "/", ".", "~"))
    is_hub_data = str(run.setting("data.source._target_", "")).endswith(".hub")
    return ModelCardData(
        base_model=base if is_hub else None,
        datasets=[data] if is_hub_data else None,
        library_name={"adapter": "peft", "onnx": "onnx"}.get(form, "transformers"),
        pipeline_tag=task,
        tags=["finesweep", str(run.setting("peft._target_", "")).rpartition(".")[2]],
        model_name=name,
        eval_results=evaluations,
    ).to_yaml()


def _base_name(run: SavedRun) -> str:
    revision = run.setting("model.revision")
    return f"{run.setting('model.name')}{f' at {revision}' if revision else ''}"


def _data_name(run: SavedRun) -> str:
    source = run.setting("data.source", {})
    found = source.get("name") or source.get("path") or source.get("train") or "data"
    return str(found[0] if isinstance(found, list) else found).rpartition("://")[2]


def _hyperparameters(run: SavedRun) -> dict[str, Any]:
    trainer, method = run.setting("trainer", {}), run.setting("peft", {})
    found = {
        f"peft.{key}": value for key, value in method.items() if not key.startswith("_") and value is not None
    }
    return {key: trainer[key] for key in HYPERPARAMETERS if trainer.get(key) is not None} | found


def _rows(run: SavedRun) -> dict[str, int]:
    """Return the number of rows of each split."""
    compute: Any = importlib.import_module("pyarrow.compute")
    from pyarrow import parquet

    counted = compute.value_counts(
        parquet.read_table(run.folder.splits, columns=["split"])["split"]
    ).to_pylist()
    return {one["values"]: one["counts"] for one in counted}
