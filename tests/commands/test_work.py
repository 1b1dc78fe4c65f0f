"""`finesweep work`: times, and the batch files that have an engine place the workers."""

import ast
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from finesweep.commands.work import Engine, seconds_of
from finesweep.commands.work.batch import batch_file
from finesweep.commands.work.command import work
from finesweep.errors import FinesweepError
from finesweep.sweeps import manifest

# A worker that a signal ends as finesweep's ends, and that leaves trials.
WORKER = """#!/bin/bash
trap 'echo warned >> "$LOG"; exit 75' USR1
echo "$*" >> "$LOG"
for _ in $(seq 200); do sleep 0.05; done
"""
SCONTROL = '#!/bin/bash\necho "scontrol $*" >> "$LOG"\n'


@pytest.fixture
def folder(tmp_path):
    """Return the folder of a sweep, with a space in its name, that has only been opened."""
    settings = {"storage": None, "n_trials": 30, "n_jobs": 8, "processes_per_trial": 2, "purpose": "search"}
    place = tmp_path / "my study"
    manifest.write(place, {"study_name": 'My "study"\nrm -rf /', "settings": settings})
    return place


@pytest.mark.parametrize(("text", "seconds"), [("55m", 3300), ("1h30m", 5400), ("90s", 90), ("1.5h", 5400)])
def test_times_as_one_writes_them(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "55", "5 minutes", "-5m"])
def test_what_is_no_time(text):
    with pytest.raises(ValueError, match="55m or 1h30m"):
        seconds_of(text)


def test_slurm_s_file_passes_the_warning_on_and_requeues_what_has_trials_left(folder, tmp_path):
    text = batch_file(folder, Engine.slurm)
    assert "#SBATCH --array=1-8\n" in text
    assert "#SBATCH --gres=gpu:2\n" in text
    assert "#SBATCH --job-name=my-study-rm-rf\n" in text
    (tmp_path / "bin").mkdir()
    for name, program in (("python", WORKER), ("scontrol", SCONTROL)):
        (tmp_path / "bin" / name).write_text(program)
        (tmp_path / "bin" / name).chmod(0o755)
    log = tmp_path / "log"
    environment = {**os.environ, "LOG": str(log), "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    environment |= {"SLURM_JOB_ID": "12", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}
    script = text.replace(f"{sys.executable} -m", "python -m")
    job = subprocess.Popen(["bash", "-c", script], env=environment)
    while not log.exists() or not log.read_text():
        assert job.poll() is None
        time.sleep(0.02)
    job.send_signal(10)
    assert job.wait(timeout=60) == 75
    assert log.read_text().splitlines() == [f"-m finesweep work {folder}", "warned", "scontrol requeue 7_3"]


def test_kubernetes_s_file_is_an_indexed_job_that_75_does_not_fail(folder):
    job = yaml.safe_load(batch_file(folder, Engine.kubernetes))
    assert job["metadata"]["name"] == "my-study-rm-rf"
    assert (job["spec"]["completionMode"], job["spec"]["completions"]) == ("Indexed", 8)
    assert job["spec"]["podFailurePolicy"]["rules"][0] == {
        "action": "Ignore",
        "onExitCodes": {"operator": "In", "values": [75]},
    }
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"][-2:] == ["work", str(folder)]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 2}
    assert container["volumeMounts"][0]["mountPath"] == str(folder.parent)


def test_ray_s_file_is_python_that_works_until_nothing_is_left(folder):
    tree = ast.parse(batch_file(folder, Engine.ray))
    (command,) = [node.value for node in ast.walk(tree) if isinstance(node, ast.Assign)][:1]
    assert ast.literal_eval(command) == [sys.executable, "-m", "finesweep", "work", str(folder)]


def test_there_must_be_a_sweep(tmp_path):
    with pytest.raises(FinesweepError, match=r"holds a sweep\.yaml[\s\S]*hydra\.sweeper\.detach=true"):
        work(tmp_path)
    with pytest.raises(FinesweepError, match="No such folder"):
        batch_file(Path(tmp_path / "nowhere"), Engine.slurm)
