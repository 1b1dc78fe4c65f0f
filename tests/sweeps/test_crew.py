"""A sweep's workers get their share of the machine; the controller stays light."""

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from finesweep.sweeps import checks, crew
from finesweep.sweeps.plan import Settings
from finesweep.system.places import config_folder

NOOP = Path(__file__).parents[2] / "benchmarks" / "noop.py"


@pytest.mark.parametrize(
    ("gpus", "processes", "expected"),
    [
        (["0", "1", "2"], 1, ["0", "1", "2", "0"]),
        (["4", "7"], 1, ["4", "7", "4", "7"]),
        (["0", "1", "2", "3"], 2, ["0,1", "2,3", "0,1", "2,3"]),
        (["5"], 2, ["5", "5", "5", "5"]),
        ([], 1, [None] * 4),
    ],
)
def test_workers_get_their_gpus_round_robin(monkeypatch, gpus, processes, expected):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(gpus))
    settings = Settings("maximize", 9, 4, {}, {}, processes_per_trial=processes)
    shares = [crew.worker_environment(index, settings) for index in range(4)]
    assert [share.get("CUDA_VISIBLE_DEVICES") for share in shares] == expected


@pytest.mark.parametrize(("gpus", "refused"), [(["0"], 1), (["0", "1"], 0), ([], 0)])
def test_a_trial_s_processes_need_a_gpu_each(monkeypatch, gpus, refused):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ",".join(gpus))
    launcher = {"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}
    config = OmegaConf.create({"hydra": {"launcher": launcher}})
    settings = Settings("maximize", 9, 4, {}, {}, processes_per_trial=2)
    assert len(list(checks._gpu_faults(config, settings))) == refused


def test_the_controller_of_a_sweep_imports_no_torch(tmp_path):
    words = [f"hydra.searchpath=[file://{config_folder()}]", "hydra/sweeper=finesweep"]
    words += ["hydra/sweeper/pruner=none", "hydra.sweeper.direction=minimize", "hydra.sweeper.n_trials=3"]
    command = [sys.executable, "-X", "importtime", str(NOOP), "-m", *words, "hydra.sweeper.n_jobs=1"]
    command += ["x=interval(0,1)", "hydra.output_subdir=null"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "best of 3 complete trials" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "optuna" in imported
    assert not imported & {"torch", "transformers", "datasets", "matplotlib"}
