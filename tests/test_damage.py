"""Damaged files of finished folders: every command is right, or names the file; never a traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import damages
import finesweep
from finesweep.commands import listing
from finesweep.commands.compare.command import compare, lines_of
from finesweep.commands.evaluate.command import evaluate
from finesweep.commands.export import Form
from finesweep.commands.export.command import export
from finesweep.commands.report.command import write_report
from finesweep.commands.resume import resume
from finesweep.errors import Fault, FinesweepError
from finesweep.runs.reproduce import reproduce

pytestmark = pytest.mark.usefixtures("few_resamples")
TEXTS = ["the cat number 3 is horse", "the two number 4 is three", "nothing"]


def _ls(folder: Path, _: Path) -> str:
    (entry,) = [one for one in listing.entries(folder.parent) if Path(one.folder).name == folder.name]
    if entry.fault:
        raise FinesweepError(Fault("ls", entry.fault))
    return f"{entry.state} {entry.objective}"


def _compare(folder: Path, _: Path) -> str:
    return "\n".join(lines_of(compare([folder])))


def _predict(folder: Path, _: Path) -> str:
    return json.dumps(finesweep.load(folder)(TEXTS))


def _export(folder: Path, place: Path) -> str:
    export(folder, place / "exported", Form.adapter)
    return "\n".join(sorted(path.name for path in (place / "exported").iterdir()))


def _evaluate(folder: Path, _: Path) -> str:
    evaluate(folder, split="test")
    return json.dumps(json.loads((folder / "evaluation.json").read_text())["metrics"])


def _reproduce(folder: Path, _: Path) -> str:
    return str(reproduce(folder))


def _resume(folder: Path, _: Path) -> str:
    resume(folder)
    return "resumed"


def _report(folder: Path, _: Path) -> str:
    return write_report(folder, pictures=False).name


OF_RUNS = {"ls": _ls, "compare": _compare, "predict": _predict, "export": _export, "resume": _resume}
OF_SWEEPS = {"ls": _ls, "compare": _compare, "report": _report}
# The others are in `make test-faults`: what isn't JSON is one thing to a reader, however it came about.
OFTEN = ("missing", "one bit", "other JSON")
OFTEN = [one if one in OFTEN else pytest.param(one, marks=pytest.mark.campaign) for one in damages.DAMAGES]
SLOW = {"evaluate": _evaluate, "reproduce": _reproduce}


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_model, tiny_csv_text):
    """Return a finished run and a finished sweep."""
    from finesweep.commands.train import launch

    place = tmp_path_factory.mktemp("damage")
    (place / "tiny.csv").write_text(tiny_csv_text)
    words = ["data=csv", f"data.source.train={place / 'tiny.csv'}", f"model.name={tiny_model}",
             "tokenizer.max_length=16", "trainer.max_steps=2", "trainer.eval_steps=1", "tracker=none",
             "trainer.per_device_train_batch_size=8", "threads=1",
             f"output_dir={place / 'outputs'}"]  # fmt: skip
    run = finesweep.run([*words, "name=one"]).folder
    more = ["name=many", "peft.r=2,4", "hydra.sweeper.n_jobs=0", "hydra/sweeper/pruner=none"]
    launch(["-m", *words, *more])
    return {"run": run, "sweep": place / "outputs" / "sweeps" / "many"}


def _outcome(command, folder: Path, place: Path) -> tuple[str, str]:
    """Return what a command answers, or what it refuses."""
    try:
        return "answer", command(folder, place)
    except SystemExit as stop:
        return "stopped", str(stop.code)
    except FinesweepError as error:
        return "refused", str(error)
    finally:
        shutil.rmtree(place / "exported", ignore_errors=True)


def _files(folder: Path) -> list[str]:
    found = (file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
    return sorted(str(file.relative_to(folder)) for file in found)


def _wrong(name, folder, damage, expected, commands, place):
    """Yield what some commands make of a damaged file that is neither right nor a refusal that helps."""
    file = folder / name
    content = file.read_bytes()
    damages.do(damage, file)
    try:
        for command, call in commands.items():
            if (command, name) == ("resume", "status.json"):  # what has no state goes on
                continue
            try:
                kind, text = _outcome(call, folder, place)
            except Exception as error:
                yield f"{command} with {name} {damage}: {type(error).__name__}: {error}"
                continue
            is_said = Path(name).name in text  # what is left out of a comparison, say
            if kind == "answer" and (kind, text) != expected[command] and not is_said:
                yield f"{command} with {name} {damage}: another answer: {text[:200]}"
            is_named = Path(name).name in text or folder.name in text
            if kind == "refused" and expected[command][0] == "answer" and not is_named:
                yield f"{command} with {name} {damage}: a refusal without the file: {text[:200]}"
    finally:
        damages.put(file, content)


@pytest.mark.parametrize("damage", OFTEN)
@pytest.mark.parametrize(("kind", "commands"), [("run", OF_RUNS), ("sweep", OF_SWEEPS)])
@pytest.mark.often("*-missing")
def test_every_command_is_right_or_names_the_damaged_file(made, tmp_path, damage, kind, commands):
    folder = made[kind]
    expected = {command: _outcome(call, folder, tmp_path) for command, call in commands.items()}
    names = [name for name in _files(folder) if not name.startswith(("checkpoints", "trials/", "study.db-"))]
    if kind == "sweep":
        names += [f"trials/0/{name}" for name in ("config.yaml", "result.json", "status.json", "labels.json")]
    found = [line for name in names for line in _wrong(name, folder, damage, expected, commands, tmp_path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("damage", ["missing", "one bit", "cut in half"])
@pytest.mark.often("one bit")
def test_what_computes_anew_is_right_or_names_the_damaged_file(made, tmp_path, damage):
    folder = made["run"]
    names = ["adapter/adapter_model.safetensors", "tokenizer/tokenizer.json", "labels.json", "splits.parquet",
             "provenance.json", "metrics.jsonl"]  # fmt: skip
    expected = {"evaluate": _outcome(_evaluate, folder, tmp_path), "reproduce": ("answer", "True")}
    found = [line for name in names for line in _wrong(name, folder, damage, expected, SLOW, tmp_path)]
    assert not found, "\n".join(found)
