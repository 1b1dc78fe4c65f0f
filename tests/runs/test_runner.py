"""The walk on a tiny model: the run folder, the best checkpoint, failures and their status."""

import json

import pytest
from pyarrow import parquet

from finesweep.errors import ConfigError, DataError, FinesweepError, TrainingError
from finesweep.training import Monitor
from tiny import lines_of


def test_the_run_folder_is_complete(finished, tiny_model):
    result = finished()
    folder = result.folder
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "config.yaml", "overrides.yaml", "provenance.json", "labels.json", "metrics.jsonl", "result.json",
        "status.json", "files.json", "splits.parquet", "adapter", "backbone", "tokenizer", "checkpoints",
        "predictions", "train.log",
    }  # fmt: skip
    assert json.loads((folder / "status.json").read_text())["state"] == "complete"
    assert json.loads((folder / "labels.json").read_text())["names"] == ["animals", "colours", "numbers"]
    written = json.loads((folder / "result.json").read_text())
    assert written["objective"]["value"] == result.objective == result.metrics["validation/accuracy"]
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["threads"] == 1
    assert provenance["packages"]["torch"]
    assert "first-token" in provenance["speedups"]
    assert set(provenance["fingerprints"]) == {"data", "tokenizer", "model"}
    assert "tiny-bert" in (folder / "train.log").read_text()
    test = parquet.read_table(folder / "predictions" / "test.parquet").to_pydict()
    assert list(test) == ["id", "label", "predicted", "p/animals", "p/colours", "p/numbers"]
    right = sum(a == b for a, b in zip(test["label"], test["predicted"], strict=True))
    assert result.metrics["test/accuracy"] == pytest.approx(right / len(test["label"]))
    assert (written["prediction"]["texts"], written["prediction"]["device"]) == (len(test["label"]), "cpu")
    assert written["prediction"]["seconds"] > 0


def test_metrics_are_logged_at_every_step_and_evaluation(finished):
    lines = lines_of(finished())
    assert [line["step"] for line in lines if "train/loss" in line] == [1, 2, 3, 4]
    assert [line["step"] for line in lines if "validation/accuracy" in line] == [2, 4]
    assert lines[-1]["step"] == 4
    assert "test/f1/animals" in lines[-1]


@pytest.mark.parametrize("method", ["lora", "none", "head-only"])
@pytest.mark.often("lora", "none")
def test_the_saved_model_predicts_what_the_run_predicted(finished, method):
    import numpy as np
    import torch
    from peft import AutoPeftModelForSequenceClassification
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    result = finished(f"peft={method}", "trainer.learning_rate=0.01")
    loader = (
        AutoPeftModelForSequenceClassification if method == "lora" else AutoModelForSequenceClassification
    )
    model = loader.from_pretrained(result.folder / "adapter").eval()
    assert model.config.id2label == {0: "animals", 1: "colours", 2: "numbers"}
    tokenizer = AutoTokenizer.from_pretrained(result.folder / "tokenizer")
    saved = parquet.read_table(result.folder / "predictions" / "test.parquet").to_pydict()
    file = next(p for p in result.folder.parents if (p / "tiny.csv").exists()) / "tiny.csv"
    texts = [line.rpartition(",")[0] for line in file.read_text().splitlines()[1:]]
    batch = tokenizer(
        [texts[i] for i in saved["id"]], return_tensors="pt", padding=True, truncation=True, max_length=16
    )
    with torch.no_grad():
        probabilities = model(**batch).logits.softmax(-1).numpy()
    expected = np.array([saved[f"p/{name}"] for name in ("animals", "colours", "numbers")]).T
    np.testing.assert_allclose(probabilities, expected, atol=1e-5)


def test_every_field_of_training_arguments_can_be_set():
    import dataclasses

    from transformers import TrainingArguments

    from finesweep.system.signatures import signature_of

    fields = {field.name for field in dataclasses.fields(TrainingArguments) if field.init}
    signature = signature_of("finesweep.training.hf.hf_trainer")
    assert fields - set(signature.parameters) == set(signature.reserved) == {"output_dir"}


def test_the_last_weights_are_kept_when_the_best_are_not_wanted(finished):
    result = finished("+trainer.load_best_model_at_end=false", "+trainer.data_seed=7")
    written = json.loads((result.folder / "result.json").read_text())
    assert written["objective"]["step"] == written["steps"] == 4


def test_a_run_can_start_from_another_run_s_checkpoint(finished):
    first = finished("trainer.max_steps=2")
    checkpoint = first.folder / "checkpoints" / "checkpoint-2"
    result = finished(f"+trainer.resume_from_checkpoint={checkpoint}")
    assert [line["step"] for line in lines_of(result) if "train/loss" in line] == [3, 4]
    (checkpoint / "optimizer.pt").unlink()
    with pytest.raises(ConfigError, match=r"optimizer\.pt is missing"):
        finished(f"+trainer.resume_from_checkpoint={checkpoint}")


@pytest.mark.parametrize("trainer", ["native", "hf"])
def test_a_run_goes_on_with_the_batches_and_the_optimizer_that_it_began_with(finished, trainer):
    first = finished(f"trainer={trainer}", "trainer.max_steps=2", "trainer.weight_decay=0.1")
    start = [f"trainer={trainer}", f"+trainer.resume_from_checkpoint={first.folder}/checkpoints/checkpoint-2"]
    with pytest.raises(ConfigError) as refusal:
        finished(
            *start,
            "trainer.per_device_train_batch_size=4",
            "trainer.gradient_accumulation_steps=2",
            "seed=5",
        )
    assert {(fault.where, fault.value) for fault in refusal.value.faults} == {
        ("trainer.per_device_train_batch_size", 4),
        ("trainer.gradient_accumulation_steps", 2),
        ("trainer.data_seed", 5),
        ("trainer.weight_decay", 0.0),
    }
    assert "saved with 8, and" in str(refusal.value)
    finished(*start, "trainer.weight_decay=0.1", "trainer.eval_steps=1")


def test_what_is_typed_about_evaluations_counts_when_a_run_goes_on(finished):
    words = ["trainer=hf", "trainer.max_steps=12", "+trainer.save_steps=4", "trainer.eval_steps=4"]
    first = finished(*words)
    start = f"+trainer.resume_from_checkpoint={first.folder}/checkpoints/checkpoint-4"
    result = finished(*words[:2], "trainer.eval_steps=2", "+trainer.save_steps=2", start)
    assert [line["step"] for line in lines_of(result) if "validation/accuracy" in line] == [6, 8, 10, 12]


def test_fields_that_contradict_each_other_are_a_config_error(finished):
    with pytest.raises(ConfigError, match="transformers refuses"):
        finished("+trainer.save_strategy=epoch")


def test_runs_of_one_second_get_folders_of_their_own(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    from finesweep.runs.layout import RunFolder

    with ThreadPoolExecutor(20) as pool:
        folders = list(pool.map(lambda _: RunFolder.create(tmp_path, "name").path, range(20)))
    assert len(set(folders)) == 20
    assert all(folder.is_dir() for folder in folders)


def test_a_place_where_no_folder_can_be_made_is_named():
    from finesweep.runs.layout import RunFolder

    with pytest.raises(FinesweepError, match=r"output_dir = /proc/nowhere[\s\S]*No folder can be made there"):
        RunFolder.create("/proc/nowhere", "name")  # where even root makes none


def test_the_test_split_is_left_alone_when_asked(finished):
    result = finished("test=false")
    assert not [name for name in result.metrics if name.startswith("test/")]
    assert not (result.folder / "predictions" / "test.parquet").exists()
    assert "prediction" not in json.loads((result.folder / "result.json").read_text())


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_step(finished, tmp_path):
    with pytest.raises(TrainingError, match=r"not finite at step \d[\s\S]*learning_rate"):
        finished(
            "trainer.learning_rate=1e30", "trainer.max_grad_norm=0", "trainer.lr_scheduler_type=constant"
        )
    (status,) = (tmp_path / "outputs" / "runs" / "tiny").glob("*/status.json")
    content = json.loads(status.read_text())
    assert content["state"] == "failed"
    assert "not finite" in content["reason"]


@pytest.mark.parametrize(
    ("overrides", "error"),
    [
        (["data.text_column=txt"], ConfigError),
        (["data.split.validation=0.001"], DataError),
        (["peft.target_modules=[query,vlaue]"], ConfigError),
        (["tokenizer.max_length=9999"], ConfigError),
        (["+peft.rr=4"], ConfigError),
        (["+trainer.output_dir=elsewhere"], ConfigError),
    ],
)
def test_a_mistake_writes_nothing(finished, tmp_path, overrides, error):
    with pytest.raises(error):
        finished(*overrides)
    assert not (tmp_path / "outputs").exists()


class BreakDown(Monitor):
    def on_log(self, step, metrics):
        raise RuntimeError("a bug at step 1")


@pytest.mark.parametrize(("choice", "names"), [("[first-token]", ["first-token"]), ("none", [])])
def test_the_provenance_names_the_speedups_that_were_on(finished, choice, names):
    folder = finished(f"speedups={choice}", "trainer.max_steps=1", "test=false").folder
    assert json.loads((folder / "provenance.json").read_text())["speedups"] == names


def test_a_bug_of_ours_is_recorded_with_its_traceback(finished, tmp_path):
    with pytest.raises(RuntimeError, match="a bug"):
        finished(monitors=[BreakDown()])
    (folder,) = (tmp_path / "outputs" / "runs" / "tiny").iterdir()
    assert json.loads((folder / "status.json").read_text())["state"] == "failed"
    assert "Traceback" in (folder / "train.log").read_text()


def test_same_seed_same_bits_and_another_seed_other_bits(finished):
    def record(result):
        return [{k: v for k, v in line.items() if k != "time"} for line in lines_of(result)]

    first, again, other = record(finished()), record(finished()), record(finished("seed=1"))
    assert first == again
    assert first != other


def test_a_run_on_a_terminal_shows_a_bar_and_a_panel(finished, monkeypatch, capsys):
    """The whole walk with what rich takes for a terminal, up to the last panel."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    result = finished()
    shown = capsys.readouterr().out
    assert result.state == "complete"
    assert "training" in shown
    assert "4/4" in shown
    assert "tiny: complete" in shown
    assert "finesweep reproduce" in shown


def test_each_run_says_how_many_have_read_its_test_split(finished, capfd):
    finished()
    assert "read by 1 run so far" in capfd.readouterr().out
    finished("test=false")
    assert "so far" not in capfd.readouterr().out
    finished("seed=1", "data.split.seed=0")
    assert "read by 2 runs so far" in capfd.readouterr().out
    finished("data.split.seed=1")  # other rows
    assert "read by 1 run so far" in capfd.readouterr().out
