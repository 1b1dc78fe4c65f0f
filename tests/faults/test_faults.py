"""kill -9 at six named points, of a worker and of the controller: nothing is lost and nothing runs twice.

FAULT_ROUNDS: how often; `make test-faults` says 5. In `make test` the first case alone is there.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from finesweep.runs.layout import RunFolder

REPOSITORY = Path(__file__).parents[2]
POINTS = (
    "after ask",
    "before the first step",
    "mid-epoch",
    "during a checkpoint save",
    "before tell",
    "after tell",
)
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "1"))
QUICK = ("mid-epoch", "worker", 0)
CASES = [(point, victim, n) for point in POINTS for victim in ("worker", "controller") for n in range(ROUNDS)]
CASES = [case if case == QUICK else pytest.param(*case, marks=pytest.mark.campaign) for case in CASES]
NUM_TRIALS = 3


def launch(root: Path, *words: str, fault: str = "", command: tuple[str, ...] = ()):
    (root / "start-up").mkdir(exist_ok=True)
    shutil.copy(REPOSITORY / "tests/faults/saboteur.py", root / "start-up/sitecustomize.py")
    environment = {**os.environ, "PYTHONPATH": str(root / "start-up"), "FAULT_DIR": str(root)}
    environment |= {"FAULT": fault} if fault else {}
    program = command or (sys.executable, str(REPOSITORY / "train.py"))
    return subprocess.run(
        [*program, *words], cwd=root, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.fixture
def words(tiny_overrides):
    kept = [word for word in tiny_overrides if not word.startswith(("output_dir", "name=", "threads="))]
    more = [
        "trainer.max_steps=8",
        "trainer.eval_steps=2",
        "trainer.num_train_epochs=3",
        "peft.lora_dropout=0.1",
    ]
    return [*kept, *more, "name=study", "peft.r=2,4,8", "hydra/sweeper/pruner=none", "-m"]


@pytest.fixture(scope="module")
def undisturbed():
    """Return a cell for the adapters of the undisturbed sweep, which is run by the first test."""
    return {}


def adapters(root: Path) -> dict[int, str]:
    files = {
        n: root / f"outputs/sweeps/study/trials/{n}/adapter/adapter_model.safetensors"
        for n in range(NUM_TRIALS)
    }
    return {number: hashlib.sha256(file.read_bytes()).hexdigest() for number, file in files.items()}


@pytest.mark.parametrize(("point", "victim", "number"), CASES)
def test_after_a_kill_nothing_is_lost_or_done_twice(point, victim, number, words, undisturbed, tmp_path):
    if not undisturbed:
        quiet = tmp_path / "undisturbed"
        quiet.mkdir()
        assert launch(quiet, *words).returncode == 0
        undisturbed.update(adapters(quiet))
    killed = launch(tmp_path, *words, fault=f"{point}:{victim}")
    assert (tmp_path / "struck").exists(), killed.stdout + killed.stderr
    if victim == "controller":
        assert killed.returncode == -9
        assert RunFolder(tmp_path / "outputs" / "sweeps" / "study").state() == "killed"
        finesweep = str(Path(sys.executable).with_name("finesweep"))
        killed = launch(tmp_path, "resume", fault=f"{point}:{victim}", command=(finesweep,))
    assert killed.returncode == 0, killed.stdout + killed.stderr
    storage = f"sqlite:///{tmp_path / 'outputs/sweeps/study/study.db'}"
    trials = optuna.load_study(study_name="study", storage=storage).get_trials()
    assert [trial.number for trial in trials] == list(range(NUM_TRIALS))
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    told = (tmp_path / "told").read_text().split()  # without a trial whose worker was stopped after telling
    assert len(told) == len(set(told)), "a trial was completed twice"
    assert adapters(tmp_path) == undisturbed
