"""Workers that join a sweep from anywhere: trials that do nothing, by processes of their own."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import nullcontext
from importlib import metadata
from pathlib import Path

import optuna
import pytest
from omegaconf import OmegaConf

from finesweep.commands.work.command import work
from finesweep.errors import ConfigError, FinesweepError, StudyGone
from finesweep.runs.layout import RunFolder
from finesweep.sweeps import launch, manifest
from finesweep.sweeps.agreement import check_agreement
from finesweep.sweeps.holders import LEASE, Worker
from finesweep.sweeps.opening import BUDGET, open_sweep
from finesweep.sweeps.plan import Plan, Settings
from finesweep.sweeps.space import Space
from finesweep.sweeps.study import Study
from finesweep.system.files import write_json, write_status
from finesweep.system.places import config_folder
from finesweep.system.presence import present
from finesweep.system.version import __version__

NOOP = Path(__file__).parents[2] / "benchmarks" / "noop.py"
NO_PRUNER = {"_target_": "optuna.pruners.NopPruner"}
JOIN, DETACH = "hydra.sweeper.join=true", "hydra.sweeper.detach=true"


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a call of a sweep of 24 trials that do nothing."""
    processes = []

    def popen(*words: str, n_trials: int = 24) -> subprocess.Popen:
        known = [f"hydra.searchpath=[file://{config_folder()}]", "hydra/sweeper=finesweep", "x=interval(0,1)"]
        known += ["hydra/sweeper/pruner=none", "hydra.sweeper.direction=minimize", "hydra.output_subdir=null"]
        known += ["hydra.sweeper.n_jobs=1", f"hydra.sweeper.n_trials={n_trials}"]
        known += [f"hydra.sweeper.folder={tmp_path / 'study'}"]
        process = subprocess.Popen(
            [sys.executable, str(NOOP), "-m", *known, *words],
            cwd=tmp_path,
            env={**os.environ, "LOG": str(tmp_path / "log")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        processes.append(process)
        return process

    yield popen
    for process in processes:
        process.kill()
        process.communicate()


def states(folder: Path, storage: str = "") -> Counter:
    study = optuna.load_study(study_name="study", storage=storage or f"sqlite:///{folder / 'study/study.db'}")
    assert [trial.number for trial in study.trials] == list(range(len(study.trials)))
    return Counter(trial.state.name for trial in study.trials)


def status(folder: Path) -> dict:
    return json.loads((folder / "study/status.json").read_text())


def runs(folder: Path) -> list[str]:
    """Return the process of each job that ran to its end."""
    return [line.split()[0] for line in (folder / "log").read_text().splitlines()]


@pytest.mark.campaign
def test_three_that_start_at_once_do_each_trial_once_and_one_of_them_ends_the_sweep(start, tmp_path):
    workers = [start(JOIN, "sleeps=[0.05]", "hydra.sweeper.storage=journal") for _ in range(3)]
    said = [worker.communicate(timeout=300)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0], said
    assert (tmp_path / "study/study.journal").is_file()
    assert len(runs(tmp_path)) == 24
    assert sum("best of 24 complete trials" in one for one in said) == 1, said
    with (tmp_path / "study/leaderboard.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 24
    assert status(tmp_path) == {"state": "complete"}
    assert list((tmp_path / "study/present").iterdir()) == []


@pytest.mark.campaign
def test_a_worker_that_has_had_its_trials_leaves_and_another_ends_the_sweep(start, tmp_path):
    first = start(JOIN, "hydra.sweeper.worker_trials=2", n_trials=4)
    said = first.communicate(timeout=300)[0]
    assert first.returncode == 75, said
    assert "This worker ends (it has had its trials). Go on: finesweep work study" in said
    assert states(tmp_path) == {"COMPLETE": 2}
    assert status(tmp_path) == {"state": "interrupted", "reason": "it has had its trials"}
    second = start(JOIN, n_trials=4)
    assert second.communicate(timeout=300)[0].count("best of 4 complete trials") == 1
    assert (second.returncode, states(tmp_path)) == (0, {"COMPLETE": 4})


def test_a_controller_and_a_worker_that_joins_do_what_a_killed_worker_left(start, tmp_path):
    jobs = "sleeps=[3,0.1,0.1,0.1,0.1,0.1]"
    opened = start(DETACH, jobs, n_trials=6)
    assert "finesweep work study" in opened.communicate(timeout=300)[0]
    killed = start(JOIN, jobs, n_trials=6)
    deadline = time.monotonic() + 120
    while holders(tmp_path) != [str(killed.pid)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert RunFolder(tmp_path / "study").state() == "running"
    killed.send_signal(signal.SIGKILL)
    others = start(jobs, n_trials=6), start(JOIN, jobs, n_trials=6)
    said = [process.communicate(timeout=300)[0] for process in others]
    assert [process.returncode for process in others] == [0, 0], said
    assert states(tmp_path) == {"COMPLETE": 6}
    assert len(runs(tmp_path)) == 6
    assert str(killed.pid) not in runs(tmp_path)
    assert status(tmp_path) == {"state": "complete"}


def holders(folder: Path) -> list[str]:
    """Return the processes that hold, or last held, each trial."""
    study = optuna.load_study(study_name="study", storage=f"sqlite:///{folder / 'study/study.db'}")
    return [str((trial.system_attrs.get(LEASE) or {}).get("pid")) for trial in study.trials]


def test_without_a_name_there_is_nothing_to_join():
    config = OmegaConf.create({"name": "a", "hydra": {"overrides": {"task": [], "hydra": []}}})
    with pytest.raises(ConfigError, match="name=my-study"):
        launch._folder(config, None, Settings("maximize", 9, 1, {}, {}, join=True))


def test_who_comes_with_another_budget_may_not_take_part_while_others_are_at_work(tmp_path):
    content = {"settings": dict.fromkeys(BUDGET) | {"storage": None, "n_trials": 4}, "study_name": "s"}
    plan = Plan(tmp_path, Settings("maximize", 9, 1, {}, {}), Space({}, ()), OmegaConf.create(), None, None)
    manifest.write(tmp_path, content)
    more = {**content, "settings": {**content["settings"], "n_trials": 9}}
    with present(plan.files.present), pytest.raises(ConfigError, match=r"n_trials = 9\n.*with 4"):
        open_sweep(plan, more)
    write_status(plan.files.status, {"state": "interrupted"})
    open_sweep(plan, more)  # nobody is there any more
    assert manifest.read(tmp_path)["settings"]["n_trials"] == 9


def test_a_trial_of_other_versions_keeps_a_worker_out_and_one_of_the_same_does_not(tmp_path):
    settings = Settings("maximize", 9, 1, {"_target_": "optuna.samplers.RandomSampler"}, NO_PRUNER)
    plan = Plan(tmp_path, settings, Space({}, ()), OmegaConf.create(), None, None)
    study, worker = plan.open_study(), Worker.here()
    study.tell(study.take(worker, {}, 1), worker, [0.5])
    check_agreement(plan, study)  # the trial's job was not finesweep's own
    trial = RunFolder(plan.trial_folder(0))
    trial.path.mkdir(parents=True)
    trial.config.write_text("seed: 0\n")
    record = {"finesweep": __version__, "packages": {"torch": "1.0+cpu", "peft": metadata.version("peft")}}
    write_json(trial.provenance, record)
    with pytest.raises(ConfigError, match=r"^torch\n  The trials of this sweep were run with torch 1\.0"):
        check_agreement(plan, study)


def test_a_worker_is_told_in_words_that_its_journal_was_deleted(tmp_path):
    settings = Settings(
        "maximize", 9, 1, {"_target_": "optuna.samplers.RandomSampler"}, NO_PRUNER, storage="journal"
    )
    plan = Plan(tmp_path, settings, Space({}, ()), OmegaConf.create(), None, None)
    study, worker = plan.open_study(), Worker.here()
    trial = study.take(worker, {}, 2)
    plan.files.journal.unlink()
    with pytest.raises(StudyGone, match=r"study\.journal is gone while the sweep ran"):
        study.tell(trial, worker, [0.5])
    with pytest.raises(StudyGone, match=r"study\.journal is gone while the sweep ran"):
        study.take(worker, {}, 2)


class CaseBlind(optuna.storages.InMemoryStorage):
    """Takes names for one that differ in case alone, as MySQL does."""

    def create_new_study(self, directions, study_name=None):
        for study in self.get_all_studies():
            if study.study_name.lower() == str(study_name).lower():
                raise optuna.exceptions.DuplicatedStudyError
        return super().create_new_study(directions, study_name)

    def get_study_id_from_name(self, study_name):
        return next(
            study._study_id
            for study in self.get_all_studies()
            if study.study_name.lower() == study_name.lower()
        )


def test_a_storage_that_is_blind_to_case_never_gives_a_sweep_another_s_study(tmp_path):
    storage, pruner = CaseBlind(), optuna.pruners.NopPruner()
    rest = (
        storage,
        ["maximize"],
        lambda seed: optuna.samplers.RandomSampler(),
        pruner,
        0,
        nullcontext(),
        tmp_path,
    )
    Study("mine", *rest)
    Study("mine", *rest)
    with pytest.raises(ConfigError, match="has a study `mine`"):
        Study("Mine", *rest)


def test_a_database_in_a_folder_s_place_is_answered_with_what_a_worker_needs():
    with pytest.raises(FinesweepError, match="A worker needs the sweep's folder") as refused:
        work(Path("postgresql+psycopg2://me:hidden-word@host/studies"))
    assert "hidden-word" not in str(refused.value)
