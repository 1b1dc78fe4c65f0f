"""Sweeps with real processes: search, resume, fail, be stopped, be killed."""

import hashlib
import json
import os
import signal
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from commands import REPOSITORY, leaderboard, sweep_folder, trials_of, wait_for
from finesweep.system.places import config_folder

SAMPLERS = sorted(file.stem for file in (config_folder() / "hydra/sweeper/sampler").glob("*.yaml"))
PRUNERS = sorted(file.stem for file in (config_folder() / "hydra/sweeper/pruner").glob("*.yaml"))


def adapter_of(folder: Path, number: int) -> str:
    return hashlib.sha256(
        (folder / "trials" / str(number) / "adapter" / "adapter_model.safetensors").read_bytes()
    ).hexdigest()


def test_a_sweep_searches_resumes_and_its_best_can_be_run_and_reproduced(call, words, tmp_path):
    done = call("train.py", *words, "hydra.sweeper.n_trials=3", "hydra/sweeper/pruner=none", "-m")
    assert done.returncode == 0, done.stdout + done.stderr
    folder = sweep_folder(tmp_path)
    assert folder.name == "study"
    rows = leaderboard(folder)
    assert sorted(int(row["number"]) for row in rows) == [0, 1, 2]
    assert {row["state"] for row in rows} == {"complete"}
    first = next(row for row in rows if row["number"] == "0")
    assert (first["peft.r"], float(first["trainer.learning_rate"])) == ("8", 0.002)  # the config as it stands
    best = rows[0]
    tested = [row["number"] for row in rows if row.get("test/accuracy")]
    assert tested == [best["number"]]
    assert f"/{folder.name}/report.html" in done.stdout
    assert "reached accuracy" in (folder / "report.md").read_text()
    assert (folder / "report.html").stat().st_size < 5_000_000
    status = json.loads((folder / "trials" / best["number"] / "status.json").read_text())
    assert status["state"] == "complete"

    again = call("train.py", *words, "hydra.sweeper.n_trials=4", "hydra/sweeper/pruner=none", "-m")
    assert again.returncode == 0
    assert len(leaderboard(folder)) == 4
    assert again.stdout.count("trial ") - again.stdout.count("trial 0:") >= 1
    assert "trial   3  complete" in again.stdout
    assert "trial   0  complete" not in again.stdout

    reproduced = call("finesweep", "reproduce", str(folder / "trials" / best["number"]))
    assert reproduced.returncode == 0, reproduced.stdout + reproduced.stderr
    ran = call("train.py", "--config-path", str(folder), "--config-name", "best")
    assert ran.returncode == 0, ran.stderr
    assert "test " in ran.stdout


def test_a_changed_space_or_config_is_not_mixed_into_an_old_sweep(call_here, sweep_here, words, tmp_path):
    sweep_here(*words, "peft.r=2,4")
    done = call_here("train.py", *words, "peft.r=2,8", "trainer.weight_decay=0.5", "-m")
    assert done.returncode == 2
    assert "space.peft.r" in done.stderr
    assert "config.trainer.weight_decay" in done.stderr
    assert len(trials_of(sweep_folder(tmp_path))) == 2


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["peft.rr=2,4"], ["peft.rr", "LoraConfig has no argument `rr`", "Did you mean `r`?"]),
        (["peft.r=interval(8,2)"], ["peft.r", "low <= high"]),
        (
            ["peft=lora,loar", "peft.r=2,two"],
            ["peft = loar", "Did you mean `lora`?", "peft.r = two", "a whole number"],
        ),
        (["peft.r=tag(log,interval(2,32))"], ["peft.r = 2.0", "put int(...) around the axis"]),
        (["peft.r=2,4", "trainer.max_stps=3"], ["max_stps", "`max_steps`"]),
        (
            ["peft.r=2,4", "hydra.sweeper.direction=[maximize,minimize]"],
            ["can't prune with several objectives"],
        ),
        (["hydra.sweeper.n_trials=0"], ["n_trials", "1 or more"]),
        (["hydra.sweeper.trials_per_worker=many"], ["trials_per_worker", "auto or a whole number"]),
        (["~sweeps"], ["nothing to search", "peft.r=2,4,8"]),
        (["sweeps=null"], ["Leave it out: ~sweeps"]),
        (["hydra/sweeper/sampler=tpi"], ["tpe"]),
    ],
)
@pytest.mark.often(every=3)
def test_a_mistake_is_refused_before_any_trial(call_here, words, tmp_path, more, expected):
    done = call_here("train.py", *words, *more, "-m")
    for text in expected:
        assert text in done.stderr, done.stderr
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("outputs/sweeps/*/trials"))


def test_a_mistake_that_is_found_beside_warm_workers_is_refused_too(call, words, tmp_path):
    done = call("train.py", *words, "hydra/sweeper/sampler=grid", "-m")
    for text in ("trainer.learning_rate", "continuous"):
        assert text in done.stderr, done.stderr
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("outputs/sweeps/*/trials"))


def test_several_workers_failing_trials_and_group_axes(call, words, tmp_path):
    """A rate that diverges fails its trial, with its traceback, and nothing else."""
    more = [
        "trainer.learning_rate=1e-3,1e30",
        "peft=lora,head-only",
        "hydra.sweeper.n_jobs=2",
        "trainer.max_grad_norm=0",
    ]
    done = call(
        "train.py", *words, *more, "hydra.sweeper.max_failure_rate=0.9", "hydra/sweeper/pruner=none", "-m"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = leaderboard(sweep_folder(tmp_path))
    states = {(row["peft"], float(row["trainer.learning_rate"])): row["state"] for row in rows}
    assert len(states) == 4
    assert states["lora", 1e-3] == states["head-only", 1e-3] == "complete"
    assert states["lora", 1e30] == "fail"
    failed = next(row for row in rows if row["state"] == "fail")
    assert "not finite" in failed["error"]
    error = sweep_folder(tmp_path) / failed["folder"] / "error.txt"
    assert "TrainingError" in error.read_text()
    configs = [
        json.loads((p.parent / "provenance.json").read_text())["threads"]
        for p in sweep_folder(tmp_path).glob("trials/*/config.yaml")
    ]
    assert set(configs) == {max(1, len(os.sched_getaffinity(0)) // 2)}


@pytest.mark.campaign
def test_a_trial_that_runs_out_of_memory_fails_and_the_sweep_goes_on(
    sweep_here, words, tmp_path, monkeypatch
):
    (tmp_path / "hungry.py").write_text(
        "from torch.optim import SGD\n"
        "class Hungry(SGD):\n"
        "    def __init__(self, parameters, room):\n"
        "        super().__init__(parameters, lr=0.1)\n"
        "        if room < 8:\n"
        "            raise MemoryError('no room for 8 GiB')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    optimizer = "+trainer.optimizer={_target_: hungry.Hungry, _partial_: true, room: 16}"
    sweep_here(*words, optimizer, "trainer.optimizer.room=4,16", "trainer.max_steps=2")
    rows = {row["trainer.optimizer.room"]: row for row in leaderboard(sweep_folder(tmp_path))}
    assert {room: row["state"] for room, row in rows.items()} == {"4": "fail", "16": "complete"}
    assert rows["4"]["error"] == "MemoryError: no room for 8 GiB (there was too little memory)"
    error = sweep_folder(tmp_path) / rows["4"]["folder"] / "error.txt"
    assert "Traceback (most recent call last)" in error.read_text()


def test_a_sweep_in_which_all_fails_ends_with_the_errors(call_here, words, tmp_path):
    more = ["trainer.learning_rate=1e30,2e30,3e30,4e30,5e30,6e30", "trainer.max_grad_norm=0"]
    done = call_here("train.py", *words, *more, "hydra.sweeper.n_jobs=0", "-m")
    assert done.returncode == 1
    assert "4 of 4 trials failed" in done.stderr
    assert "not finite" in done.stderr
    assert "Traceback (most recent call last)" not in done.stderr


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.often("tpe")
def test_every_sampler_runs(sweep_here, words, tmp_path, sampler):
    axes = ["peft.r=range(2,6,2)", "trainer.warmup_steps=range(0,0.3,0.1)"]
    more = ["hydra.sweeper.n_trials=3", "trainer.max_steps=2"]
    sweep_here(*words, *axes, *more, f"hydra/sweeper/sampler={sampler}")
    assert len(leaderboard(sweep_folder(tmp_path))) == 3


@pytest.mark.parametrize("pruner", PRUNERS)
@pytest.mark.often("asha")
def test_every_pruner_runs(sweep_here, words, tmp_path, pruner):
    more = ["hydra.sweeper.n_trials=4", f"hydra/sweeper/pruner={pruner}"]
    sweep_here(*words, "trainer.learning_rate=1e-2,1e-3,1e-4,1e-9", *more)
    rows = leaderboard(sweep_folder(tmp_path))
    assert len(rows) == 4
    for row in rows:
        status = json.loads((sweep_folder(tmp_path) / row["folder"] / "status.json").read_text())
        assert status["state"] == row["state"]


@pytest.mark.filterwarnings("ignore")  # peft's advice
@pytest.mark.parametrize("choice", ["grid", "lora-deep", "methods"])
@pytest.mark.campaign
def test_a_search_space_is_searched_as_its_file_says(sweep_here, words, tmp_path, choice):
    sweep_here(*words, f"sweeps={choice}", "hydra.sweeper.n_trials=2", "trainer.max_steps=2")
    rows = leaderboard(sweep_folder(tmp_path))
    assert [row["state"] for row in rows] == ["complete", "complete"]
    space = OmegaConf.load(REPOSITORY / "sweeps" / f"{choice}.yaml")
    params = space.params if "params" in space else space.hydra.sweeper.params
    assert {key.lstrip("+") for key in params} <= set(rows[0])


def test_a_pareto_sweep_gives_a_front(sweep_here, words, tmp_path, capsys):
    more = ["sweeps=pareto", "peft.r=1,4,8", "peft.target_modules=attention-qv"]
    sweep_here(*words, *more)
    folder = sweep_folder(tmp_path)
    rows = leaderboard(folder)
    assert {row["trainable_parameters"] for row in rows} == {f"{float(row['trainable'])}" for row in rows}
    points = {row["number"]: (float(row["objective"]), -float(row["trainable_parameters"])) for row in rows}
    front = {
        number
        for number, (score, size) in points.items()
        if not any((a >= score and b >= size) and (a, b) != (score, size) for a, b in points.values())
    }
    assert {row["number"] for row in rows if row["front"] == "true"} == front
    assert [row["front"] for row in rows] == ["true"] * len(front) + ["false"] * (3 - len(front))
    printed = capsys.readouterr().out
    assert f"Pareto front of {len(front)} among 3 complete trials" in printed
    assert printed.count("(Pareto front)") == len(front)
    head = (folder / "best.yaml").read_text().splitlines()[0]
    assert head.startswith(f"# Trial {rows[0]['number']}, the first of the Pareto front")
    assert "best" not in head
    settings = OmegaConf.load(folder / "sweep.yaml").settings
    assert 3 * settings.sampler.population_size <= settings.n_trials  # the first generation is random


@pytest.mark.campaign
def test_the_joblib_launcher_places_the_workers(call, words, tmp_path):
    more = ["hydra/launcher=joblib", "hydra.sweeper.n_jobs=2", "peft.r=2,4,8,16", "hydra/sweeper/pruner=none"]
    done = call("train.py", *words, *more, "-m")
    assert done.returncode == 0, done.stderr
    rows = leaderboard(sweep_folder(tmp_path))
    assert sorted(row["peft.r"] for row in rows) == ["16", "2", "4", "8"]
    assert {row["state"] for row in rows} == {"complete"}


@pytest.mark.campaign
def test_a_custom_search_space_may_be_conditional(sweep_here, words, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "def configure(config, trial):\n"
        "    if trial.params['peft'] == 'lora':\n"
        "        trial.suggest_categorical('peft.r', [2, 4])\n"
    )
    more = [
        "peft=lora,head-only",
        "hydra.sweeper.custom_search_space=mine.configure",
        "hydra.sweeper.n_trials=4",
    ]
    monkeypatch.syspath_prepend(tmp_path)
    sweep_here(*words, *more)
    rows = leaderboard(sweep_folder(tmp_path))
    assert {row["peft"] for row in rows} == {"lora", "head-only"}
    for row in rows:
        assert bool(row["peft.r"]) == (row["peft"] == "lora")


@pytest.mark.campaign
def test_a_secret_in_the_storage_url_is_never_written(call, words, tmp_path):
    url = f"sqlite:///{tmp_path}/canary-database.db"
    more = ["peft.r=2,4", "hydra.sweeper.storage=${oc.env:STUDY_URL}", "hydra.sweeper.n_jobs=1"]
    done = call("train.py", *words, *more, "-m", environment={"STUDY_URL": url})
    assert done.returncode == 0, done.stderr
    folder = sweep_folder(tmp_path)
    assert (tmp_path / "canary-database.db").exists()
    assert not (folder / "study.db").exists()
    assert not [
        file for file in folder.rglob("*") if file.is_file() and b"canary-database" in file.read_bytes()
    ]


@pytest.mark.campaign
def test_ctrl_c_stops_with_a_checkpoint_and_resume_finishes(start, call, words, tmp_path):
    slow = [word for word in words if not word.startswith("trainer.max_steps")]
    slow += ["trainer.max_steps=240", "trainer.eval_steps=120", "peft.r=2,4", "hydra/sweeper/pruner=none"]
    process = start(*slow, "-m")
    metrics = tmp_path / "outputs/sweeps/study/trials/0/metrics.jsonl"
    started = lambda: metrics.exists() and metrics.read_text().count("\n") > 20  # noqa: E731
    wait_for(started, process, tmp_path / "output.txt")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    folder = sweep_folder(tmp_path)
    assert "finesweep resume outputs/sweeps/study" in (tmp_path / "output.txt").read_text()
    assert {trial.state.name for trial in trials_of(folder)} == {"WAITING"}
    (checkpoint,) = (folder / "trials" / "0" / "checkpoints").glob("checkpoint-*")
    assert 20 <= int(checkpoint.name.partition("-")[2]) < 120
    done = call("finesweep", "resume")
    assert done.returncode == 0, done.stdout + done.stderr
    assert {trial.state.name for trial in trials_of(folder)} == {"COMPLETE"}
    steps = [
        json.loads(line)["step"]
        for line in (folder / "trials" / "0" / "metrics.jsonl").read_text().splitlines()
    ]
    assert steps == sorted(steps)
    assert steps.count(30) == 1
    undisturbed = call("train.py", *slow, "name=other", "-m")
    assert undisturbed.returncode == 0
    other = folder.parent / "other"
    assert adapter_of(folder, 0) == adapter_of(other, 0)
