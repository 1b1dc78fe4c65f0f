"""kill -9 at every step between a sweep's last trial and its end: the next call does what is missing."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ends import STEPS

from finesweep.runs.layout import RunFolder
from finesweep.runs.sealing import FILES, MODEL, RECORDS, check_seal

pytestmark = pytest.mark.campaign

REPOSITORY = Path(__file__).parents[2]
TRAIN = (sys.executable, str(REPOSITORY / "train.py"))
FINESWEEP = (str(Path(sys.executable).with_name("finesweep")),)
OF_CONFIRM = ("the last trial is told", "the runs are compared")
HERE = "hydra.sweeper.n_jobs=0"
MEASURED = ("duration_s",)  # what a clock decides


def launch(root: Path, *command: str, fault: str = "", last: int = 0) -> subprocess.CompletedProcess:
    place = root / "start-up"
    place.mkdir(parents=True, exist_ok=True)
    shutil.copy(REPOSITORY / "tests/faults/ends.py", place / "sitecustomize.py")
    environment = {**os.environ, "PYTHONPATH": str(place), "FAULT_DIR": str(place)}
    environment |= {"FAULT": fault, "FAULT_LAST": str(last)} if fault else {}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=300)


def succeed(root: Path, *command: str) -> None:
    done = launch(root, *command)
    assert done.returncode == 0, done.stdout + done.stderr


def cut_off(root: Path, step: str, last: int, *command: str) -> None:
    done = launch(root, *command, fault=step, last=last)
    assert done.returncode == -9, (step, done.stdout + done.stderr)
    (root / "start-up" / f"struck when {step}").unlink()


def sweep_of(root: Path) -> Path:
    return root / "outputs" / "sweeps" / "study"


@pytest.fixture
def words(tiny_overrides):
    kept = [word for word in tiny_overrides if not word.startswith(("output_dir", "name="))]
    return [*kept, "name=study", "peft.r=2,4", "hydra/sweeper/pruner=none", HERE, "-m"]


def left_in(root: Path) -> dict:
    """Return what is to be equal, however often the end was cut off."""
    folder = sweep_of(root)
    with (folder / "leaderboard.csv").open() as file:
        rows = [{k: v for k, v in row.items() if k not in MEASURED} for row in csv.DictReader(file)]
    winner = RunFolder(folder / rows[0]["folder"])
    check_seal(winner, MODEL + RECORDS)
    return {
        "rows": rows,
        "best": (folder / "best.yaml").read_text().replace(str(root), "").rpartition("\n#")[0],
        "metrics": json.loads(winner.result.read_text())["metrics"],
        "predictions": (winner.predictions / "test.parquet").read_bytes(),
        "sealed": list(json.loads((winner.path / FILES).read_text())["files"]),
        "state": RunFolder(folder).state(),
        "files": sorted(str(path.relative_to(folder)) for path in folder.rglob("*")),
    }


def test_an_end_that_is_cut_off_at_every_step_comes_out_as_an_undisturbed_one(words, tmp_path):
    quiet, cut = tmp_path / "quiet", tmp_path / "cut"
    succeed(quiet, *TRAIN, *words)
    expected = left_in(quiet)
    assert any(name.startswith("test/") for name in expected["metrics"])
    assert {"report.html", "report.md"} <= set(expected["files"])
    first, *others = [step for step in STEPS if step != "the runs are compared"]
    cut_off(cut, first, 1, *TRAIN, *words)
    assert RunFolder(sweep_of(cut)).read_status()["time"]  # another process of its number began later
    for step in others:
        assert RunFolder(sweep_of(cut)).state() == "killed"
        cut_off(cut, step, 1, *FINESWEEP, "resume", str(sweep_of(cut)))
    succeed(cut, *FINESWEEP, "resume", str(sweep_of(cut)))
    assert left_in(cut) == expected

    confirm = (*FINESWEEP, "confirm", "--top", "1", "--seeds", "2")
    succeed(quiet, *confirm, str(sweep_of(quiet)), HERE)
    for step in OF_CONFIRM:
        cut_off(cut, step, 3, *confirm, str(sweep_of(cut)), HERE)
    succeed(cut, *confirm, str(sweep_of(cut)), HERE)
    found, undisturbed = (json.loads((sweep_of(root) / "confirm.json").read_text()) for root in (cut, quiet))
    assert [one["values"] for one in found["candidates"]] == [
        one["values"] for one in undisturbed["candidates"]
    ]
    assert found["words"] == undisturbed["words"]
    assert left_in(cut)["files"] == left_in(quiet)["files"]
