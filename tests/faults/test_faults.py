"""kill -9 at six named points, of a worker and of the controller: nothing is lost and nothing runs twice.

FAULT_ROUNDS: how often; `make test-faults` says 5.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import torch
from safetensors.torch import load_file

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
# tests/sweeps/test_joining.py kills a worker in `make test`.
pytestmark = pytest.mark.campaign
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "1"))
CASES = [(point, victim, n) for point in POINTS for victim in ("worker", "controller") for n in range(ROUNDS)]
NUM_TRIALS = 3
# Masks are drawn by the pack, so that trials which go on in another one have other masks.
PACKED = [
    "hydra.sweeper.trials_per_worker=3",
    "hydra.sweeper.n_jobs=1",
    "peft.lora_dropout=0",
    "model.dropout=0",
]


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


def adapter(root: Path, number: int) -> Path:
    return root / f"outputs/sweeps/study/trials/{number}/adapter/adapter_model.safetensors"


def adapters(root: Path) -> dict[int, str]:
    return {n: hashlib.sha256(adapter(root, n).read_bytes()).hexdigest() for n in range(NUM_TRIALS)}


@pytest.fixture(scope="module")
def packed_undisturbed():
    """Return a cell for the weights of the undisturbed packed sweep, which is run by the first test."""
    return {}


def weights(root: Path) -> dict[str, torch.Tensor]:
    """Return every adapter's tensors, named by trial and parameter."""
    return {
        f"{n}.{name}": value for n in range(NUM_TRIALS) for name, value in load_file(adapter(root, n)).items()
    }


def run_and_kill(root: Path, point: str, victim: str, words: list[str]) -> None:
    """Run a sweep that a kill strikes once, to its end; make sure that each trial ended once."""
    killed = launch(root, *words, fault=f"{point}:{victim}")
    assert (root / "struck").exists(), killed.stdout + killed.stderr
    if victim == "controller":
        assert killed.returncode == -9
        assert RunFolder(root / "outputs" / "sweeps" / "study").state() == "killed"
        finesweep = str(Path(sys.executable).with_name("finesweep"))
        killed = launch(root, "resume", fault=f"{point}:{victim}", command=(finesweep,))
    assert killed.returncode == 0, killed.stdout + killed.stderr
    storage = f"sqlite:///{root / 'outputs/sweeps/study/study.db'}"
    trials = optuna.load_study(study_name="study", storage=storage).get_trials()
    assert [trial.number for trial in trials] == list(range(NUM_TRIALS))
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    told = (root / "told").read_text().split()  # without a trial whose worker was stopped after telling
    assert len(told) == len(set(told)), "a trial was completed twice"


def run_quietly(root: Path, words: list[str]) -> Path:
    """Run the same sweep without a kill, and return where."""
    root.mkdir()
    assert launch(root, *words).returncode == 0
    return root


@pytest.mark.parametrize(("point", "victim", "number"), CASES)
def test_after_a_kill_nothing_is_lost_or_done_twice(point, victim, number, words, undisturbed, tmp_path):
    if not undisturbed:
        undisturbed.update(adapters(run_quietly(tmp_path / "undisturbed", words)))
    run_and_kill(tmp_path, point, victim, words)
    assert adapters(tmp_path) == undisturbed


@pytest.mark.parametrize("victim", ["worker", "controller"])
@pytest.mark.parametrize("point", POINTS)
def test_after_a_kill_the_trials_of_a_pack_go_on(point, victim, words, tmp_path, packed_undisturbed):
    words = [*words, *PACKED]
    if not packed_undisturbed:
        packed_undisturbed.update(weights(run_quietly(tmp_path / "undisturbed", words)))
    run_and_kill(tmp_path, point, victim, words)
    found = weights(tmp_path)
    assert found.keys() == packed_undisturbed.keys()
    for name, values in packed_undisturbed.items():  # another pack rounds otherwise
        torch.testing.assert_close(found[name], values, atol=1e-4, rtol=1e-3, msg=name)
