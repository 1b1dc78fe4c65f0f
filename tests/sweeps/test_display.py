"""A sweep as it is followed on a terminal, and where there is none."""

import io

import optuna
import pytest
from filelock import FileLock
from omegaconf import OmegaConf
from optuna.distributions import FloatDistribution
from rich.console import Console

from finesweep.sweeps.display import Display
from finesweep.sweeps.holders import Worker
from finesweep.sweeps.plan import Plan, Settings
from finesweep.sweeps.space import Space
from finesweep.sweeps.study import Study

AXES = {"rate": FloatDistribution(0, 1)}


@pytest.fixture
def followed(tmp_path):
    """Return a function that follows three trials that end and one that runs, and returns what was shown."""

    def show(*, terminal: bool) -> str:
        screen = io.StringIO()
        console = Console(file=screen, force_terminal=terminal, width=100, height=40, color_system=None)
        storage = optuna.storages.InMemoryStorage()
        sampler, pruner = optuna.samplers.RandomSampler, optuna.pruners.NopPruner()
        study = Study("s", storage, ["maximize"], sampler, pruner, 0, FileLock(tmp_path / "lock"), tmp_path)
        settings = Settings("maximize", 5, 2, {}, {})
        plan = Plan(tmp_path, settings, Space(AXES, ()), OmegaConf.create(), None, None)
        worker = Worker.here()
        with Display(plan, study, console) as display:
            for value in (0.5, 0.75):
                study.tell(study.take(worker, AXES, 5), worker, [value])
            study.fail(study.take(worker, AXES, 5), worker, "out of memory")
            running = study.take(worker, AXES, 5)
            running.report(0.625, 1)
            running.set_user_attr("num_steps", 8)
            running.set_user_attr("evaluated_steps", [2])
            display.update()
        return screen.getvalue()

    return show


def test_a_terminal_has_a_live_table_of_what_runs_and_what_is_best(followed):
    shown = followed(terminal=True)
    table = shown[shown.rindex("3 of 5 trials") :]
    title = " ".join(table.splitlines()[0].split())
    assert title == "3 of 5 trials 2 complete 1 failed best 0.7500 (trial 1) under a minute left"
    lines = [" ".join(line.split()) for line in table.splitlines()]
    assert any(line.startswith("1 * complete 0.7500 rate=") for line in lines)
    assert any(line.startswith("2 fail") for line in lines)
    assert any(line.startswith("3 running 0.6250") and line.endswith("25% evaluated") for line in lines)
    assert "\x1b[" in shown  # it is drawn over itself


def test_what_is_left_is_estimated_before_the_first_trial_has_ended(tmp_path):
    now = [1000.0]
    storage, sampler = optuna.storages.InMemoryStorage(), optuna.samplers.RandomSampler
    lock, pruner = FileLock(tmp_path / "lock"), optuna.pruners.NopPruner()
    study = Study("s", storage, ["maximize"], sampler, pruner, 0, lock, tmp_path)
    plan = Plan(tmp_path, Settings("maximize", 4, 2, {}, {}), Space(AXES, ()), OmegaConf.create(), None, None)
    shown = Display(plan, study, Console(file=io.StringIO()), clock=lambda: now[0])
    worker = Worker.here()
    first, second = (study.take(worker, AXES, 4) for _ in range(2))

    def title() -> str:
        return shown._drawn().renderables[0].plain

    assert "left" not in title()
    for trial in (first, second):
        trial.set_user_attr("num_steps", 8)
        trial.set_user_attr("evaluated_steps", [])
    assert "left" not in title()
    now[0] += 600
    first.set_user_attr("evaluated_steps", [2])  # a quarter in 10 minutes: 40 minutes a trial
    assert title().endswith("about 75 min left")  # 3.75 trials, two at a time
    now[0] += 300
    assert title().endswith("about 75 min left")  # as of the last evaluation
    now[0] += 300
    for trial in (first, second):
        trial.set_user_attr("evaluated_steps", [2, 4])
    assert title().endswith("about 60 min left")
    for trial in (first, second):
        study.tell(trial, worker, [0.5])
    for _ in range(2):
        assert "left" in title()
        study.tell(study.take(worker, AXES, 4), worker, [0.5])
    assert title().startswith("4 of 4 trials")
    assert "left" not in title()


def test_elsewhere_each_trial_that_ends_is_a_plain_line(followed):
    shown = followed(terminal=False)
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert lines[0].startswith("search 5 trials with 2 workers: rate in [0, 1]")
    assert [line.split(" rate=")[0] for line in lines[1:]] == [
        "trial 0 complete 0.5000",
        "trial 1 complete 0.7500",
        "trial 2 fail",
    ]
    assert lines[3].endswith("out of memory")
    assert "\x1b[" not in shown
