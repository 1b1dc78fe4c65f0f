"""Full disks, databases that go away, too little memory: a sweep stops, says so, and `resume` finishes it."""

import json
import os
import signal
import subprocess
import time

import pytest

import finesweep
from commands import states_of, sweep_folder, trials_of, wait_for
from finesweep.sweeps.attributes import RETRIES
from postgres_server import USER, controlled_server

PASSWORD = "canary-of-the-database"
IMPATIENT = """
import sys

if "finesweep.sweeps.worker" in sys.orig_argv or "train.py" in " ".join(sys.orig_argv):
    from finesweep.sweeps import patience

    patience.PatientStorage.__init__.__kwdefaults__["longest_away_s"] = 4
"""


@pytest.fixture
def small_disk(tmp_path):
    """Return a function that mounts a file system of so many KiB, or makes it larger."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = []

    def size(kib: int):
        options = f"{'remount,' if mounted else ''}size={kib}k"
        if (
            os.geteuid()
            or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]).returncode
        ):
            pytest.skip("mounting a small file system needs root, and to be allowed to")
        mounted.append(folder)
        return folder

    yield size
    if mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)  # Optuna here has its study open


@pytest.fixture
def start_up(tmp_path):
    """Return a function that lets Python run a text at its start, and returns the environment for it."""

    def write(text: str) -> dict[str, str]:
        (tmp_path / "start-up").mkdir()
        (tmp_path / "start-up" / "sitecustomize.py").write_text(text)
        return {"PYTHONPATH": str(tmp_path / "start-up")}

    return write


@pytest.fixture
def two(words):
    """Return the words of a sweep of two short trials, no output_dir among them."""
    return [*words, "peft.r=2,4", "hydra/sweeper/pruner=none", "-m"]


@pytest.fixture
def long(words):
    """Return the words of a sweep of two trials that take a while."""
    kept = [word for word in words if not word.startswith(("trainer.max_steps", "trainer.eval_steps"))]
    sizes = ["trainer.max_steps=300", "trainer.eval_steps=10", "hydra/sweeper/pruner=none"]
    return [*kept, "peft.r=2,4", *sizes, "hydra.sweeper.n_jobs=1", "-m"]


ONE = ("hydra.sweeper.n_jobs=1",)
SEVERAL = ("hydra.sweeper.processes_per_trial=2", *ONE)
LAUNCHED = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *ONE)
FURTHER = ("peft.r=2,4,8,16", "hydra.sweeper.n_jobs=2")


# KiB: as far as a trial's checkpoint; as far as the study; as far as the third or fourth trial.
@pytest.mark.parametrize(
    ("kib", "more"),
    [
        pytest.param(2000, ONE, id="2000"),
        *(
            pytest.param(kib, more, id=name, marks=pytest.mark.campaign)
            for kib, more, name in (
                (400, ONE, "400"),
                (8192, FURTHER, "8192"),
                (2000, LAUNCHED, "launcher"),
                (2000, SEVERAL, "processes"),
            )
        ),
    ],
)
@pytest.mark.campaign
def test_on_a_full_disk_a_sweep_stops_and_resume_finishes_it(call, small_disk, two, kib, more):
    disk = small_disk(kib)
    done = call("train.py", *two, f"output_dir={disk}", *more)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "The disk is full" in said
    assert str(disk) in said
    assert "Traceback" not in said
    assert "Error executing" not in said
    folder = disk / "sweeps" / "study"
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    trials = folder.glob("trials/*/status.json")
    assert "running" not in [json.loads(file.read_text())["state"] for file in trials]
    assert f"finesweep resume {folder.relative_to(disk.parent)}" in done.stderr
    small_disk(100_000)
    resumed = call("finesweep", "resume", str(folder))
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert set(states_of(folder)) == {"COMPLETE"}
    assert not any(trial.system_attrs.get(RETRIES) for trial in trials_of(folder))


def is_under_way(root) -> bool:
    metrics = root / "outputs/sweeps/study/trials/0/metrics.jsonl"
    return metrics.exists() and metrics.read_text().count("\n") > 10


@pytest.fixture
def postgres():
    with controlled_server(PASSWORD) as server:
        yield server


def storage_of(server) -> str:
    url = f"postgresql+psycopg2://{USER}:${{oc.env:STUDY_PASSWORD}}@127.0.0.1:{server.port}/postgres"
    return f"hydra.sweeper.storage='{url}'"


@pytest.mark.campaign
def test_a_sweep_outlives_a_restart_of_its_database(postgres, start, long, tmp_path):
    words = [*long, "hydra.sweeper.n_jobs=2"]
    process = start(*words, storage_of(postgres), environment={"STUDY_PASSWORD": PASSWORD})
    output = tmp_path / "output.txt"
    wait_for(lambda: is_under_way(tmp_path), process, output)
    postgres.stop()
    time.sleep(3)
    assert process.poll() is None, output.read_text()
    postgres.start()
    assert process.wait(timeout=120) == 0, output.read_text()
    said = output.read_text()
    assert said.count("Waiting for it") == 1
    assert "Traceback" not in said
    url = f"postgresql+psycopg2://{USER}:{PASSWORD}@127.0.0.1:{postgres.port}/postgres"
    folder = sweep_folder(tmp_path)
    assert [trial.state.name for trial in trials_of(folder, url)] == ["COMPLETE", "COMPLETE"]
    logs = "".join(log.read_text() for log in (folder / "workers").iterdir())
    assert "Traceback" not in logs
    assert PASSWORD not in said + logs


@pytest.mark.parametrize("ended_by", [pytest.param("its patience", marks=pytest.mark.campaign), "Ctrl-C"])
@pytest.mark.campaign
def test_when_the_database_stays_away_a_sweep_says_how_it_goes_on(
    postgres, start, call, long, tmp_path, start_up, ended_by
):
    secret = {"STUDY_PASSWORD": PASSWORD}
    shorter = start_up(IMPATIENT) if ended_by == "its patience" else {}
    words = [*long, "trainer.max_steps=60", storage_of(postgres)]
    process = start(*words, environment={**secret, **shorter})
    output = tmp_path / "output.txt"
    wait_for(lambda: is_under_way(tmp_path), process, output)
    postgres.stop()
    if ended_by == "Ctrl-C":
        wait_for(lambda: "Waiting for it" in output.read_text(), process, output)
        process.send_signal(signal.SIGINT)
    # Well before the minute is over for which a database is waited for.
    assert process.wait(timeout=45) == (130 if ended_by == "Ctrl-C" else 1), output.read_text()
    said, folder = output.read_text(), sweep_folder(tmp_path)
    assert "Traceback" not in said
    assert "The study's storage is away" in said
    assert "When it is back: Continue: finesweep resume outputs/sweeps/study" in said
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"
    assert "Traceback" not in (folder / "workers" / "0.log").read_text()
    postgres.start()
    resumed = call("finesweep", "resume", environment=secret)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    url = f"postgresql+psycopg2://{USER}:{PASSWORD}@127.0.0.1:{postgres.port}/postgres"
    trials = trials_of(folder, url)
    assert [trial.state.name for trial in trials] == ["COMPLETE", "COMPLETE"]
    assert not any(trial.system_attrs.get(RETRIES) for trial in trials)


@pytest.mark.campaign
def test_a_study_that_is_deleted_under_a_sweep_ends_it(start, long, tmp_path):
    process = start(*long, "trainer.max_steps=100000")
    output = tmp_path / "output.txt"
    wait_for(lambda: is_under_way(tmp_path), process, output)
    folder = sweep_folder(tmp_path)
    for file in folder.glob("study.db*"):
        file.unlink()
    assert process.wait(timeout=15) == 1, output.read_text()
    said = output.read_text()
    assert "Traceback" not in said
    assert "study.db is gone" in said
    assert "Bring back a copy of it" in said
    assert json.loads((folder / "status.json").read_text())["state"] == "interrupted"


@pytest.mark.parametrize(("number", "hint"), [(signal.SIGKILL, "the OOM killer"), (signal.SIGABRT, "")])
@pytest.mark.often("9-*")
def test_workers_that_die_of_a_signal_before_they_work_end_the_sweep(call, two, start_up, number, hint):
    text = "import os, sys\nif 'finesweep.sweeps.worker' in sys.orig_argv:\n"
    text += f"    print('the last words', flush=True)\n    os.kill(os.getpid(), {number.value})\n"
    done = call("train.py", *two, "hydra.sweeper.n_jobs=1", environment=start_up(text), timeout=60)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "3 workers in a row died" in done.stderr
    assert f"was killed by {number.name}" in done.stderr
    assert hint in done.stderr
    assert "the last words" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unexpected_error_ends_as_failed_in_status(tmp_path, two, monkeypatch):
    (tmp_path / "broken_sampler.py").write_text(
        "import optuna\n"
        "class Broken(optuna.samplers.RandomSampler):\n"
        "    def after_trial(self, *_):\n"
        "        raise RuntimeError('no idea')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    words = [word for word in two if word not in ("-m", "name=study")]
    folder = tmp_path / "found"
    sampler = ["hydra/sweeper/sampler=random", "hydra.sweeper.sampler._target_=broken_sampler.Broken"]
    with pytest.raises(RuntimeError, match="no idea"):
        finesweep.sweep([*words, "hydra.sweeper.n_jobs=0", *sampler], folder)
    status = json.loads((folder / "status.json").read_text())
    assert status == {"state": "failed", "reason": "RuntimeError('no idea')"}


def test_a_trial_whose_workers_are_killed_says_of_what(call, two, start_up):
    text = "import os, sys\nif 'finesweep.sweeps.worker' in sys.orig_argv:\n"
    text += "    from finesweep.sweeps.study import Study\n    take = Study.take\n"
    text += "    def killed(*words, **more):\n        take(*words, **more)\n        os.kill(os.getpid(), 9)\n"
    text += "    Study.take = killed\n"
    more = ["hydra.sweeper.n_jobs=1", "hydra.sweeper.n_trials=1", "hydra.sweeper.max_retries=1"]
    done = call("train.py", *two, *more, environment=start_up(text), timeout=120)
    assert done.returncode == 1, done.stdout + done.stderr
    death = "was killed by SIGKILL, as the system does when memory runs out (the OOM killer)"
    assert done.stdout.count(f"A worker {death}.") == 2
    assert f"its worker died 2 times, the last one {death}" in done.stderr


def test_too_little_memory_is_called_that(call, two, start_up):
    text = "import resource, sys\nif 'finesweep.sweeps.worker' in sys.orig_argv:\n"
    text += f"    resource.setrlimit(resource.RLIMIT_AS, 2 * ({700 * 2**20},))\n"
    done = call("train.py", *two, "hydra.sweeper.n_jobs=1", environment=start_up(text), timeout=120)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "there was too little memory" in done.stderr
    assert "Traceback (most" not in done.stderr
