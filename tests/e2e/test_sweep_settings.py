"""Where a sweep starts and ends, and parts of the user's own: hydra.sweeper's settings, one by one."""

import json

import pytest

from commands import states_of, sweep_folder, trials_of
from finesweep.system.sweep_folder import SweepFolder


def params_of(folder) -> list[dict]:
    return [trial.params for trial in trials_of(folder)]


@pytest.mark.campaign
def test_enqueued_points_come_right_after_the_config_as_it_stands(sweep_here, words, tmp_path):
    points = "[{peft.r:2,trainer.learning_rate:5e-3},{peft.r:16}]"
    axes = ["peft.r=2,4,8,16", "trainer.learning_rate=interval(1e-3,1e-2)"]
    sweep_here(*words, *axes, f"hydra.sweeper.enqueue={points}", "hydra.sweeper.n_trials=4")
    first, second, third, fourth = params_of(sweep_folder(tmp_path))
    assert first == {"peft.r": 8, "trainer.learning_rate": 0.002}
    assert second == {"peft.r": 2, "trainer.learning_rate": 0.005}
    assert third["peft.r"] == 16
    assert third["trainer.learning_rate"] != fourth["trainer.learning_rate"]


@pytest.mark.campaign
def test_enqueued_points_of_a_finite_space_come_first_and_no_point_twice(sweep_here, words, tmp_path):
    points = "[{peft.r:8,trainer.warmup_steps:0.0},{peft.r:4,trainer.warmup_steps:0.3},{peft.r:2}]"
    axes = ["peft.r=8,4,2", "trainer.warmup_steps=range(0,0.4,0.3)", "trainer.max_steps=2"]
    sweep_here(*words, *axes, f"hydra.sweeper.enqueue={points}")
    tried = [(point["peft.r"], point["trainer.warmup_steps"]) for point in params_of(sweep_folder(tmp_path))]
    assert tried == [(8, 0.0), (4, 0.3), (2, 0.0), (8, 0.3), (4, 0.0), (2, 0.3)]


@pytest.mark.parametrize(
    ("goal", "target", "complete"),
    [
        ([], 0.0, 1),
        ([], 1.5, 2),
        (["objective.metric=loss", "objective.direction=minimize"], 100, 1),
        (["objective.metric=loss", "objective.direction=minimize"], 0, 2),
    ],
)
@pytest.mark.often("goal0-*")
def test_a_sweep_ends_at_its_target_and_says_so(sweep_here, words, tmp_path, capsys, goal, target, complete):
    sweep_here(
        *words,
        *goal,
        "peft.r=2,4",
        "trainer.max_steps=2",
        "hydra/sweeper/pruner=none",
        f"hydra.sweeper.target={target}",
    )
    assert states_of(sweep_folder(tmp_path)).count("COMPLETE") == complete
    assert (f"the target {target} is reached" in capsys.readouterr().out) == (complete == 1)
    assert json.loads((sweep_folder(tmp_path) / "status.json").read_text()) == {"state": "complete"}


@pytest.mark.campaign
def test_workers_stop_at_the_timeout_and_the_same_command_goes_on(
    call, sweep_here, words, tmp_path, monkeypatch, capsys
):
    (tmp_path / "slow.py").write_text(
        "import time\ndef configure(config, trial):\n    if trial.number == 0:\n        time.sleep(5)\n"
    )
    command = [*words, "peft.r=2,4", "trainer.max_steps=2", "hydra.sweeper.n_trials=2"]
    command += ["hydra.sweeper.n_jobs=1", "hydra.sweeper.timeout=5"]
    command += ["hydra.sweeper.custom_search_space=slow.configure"]
    done = call("train.py", *command, "-m", environment={"PYTHONPATH": str(tmp_path)}, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = sweep_folder(tmp_path)
    assert states_of(folder).count("COMPLETE") == 1
    assert "the timeout of 5 s is over" in done.stdout
    status = {"state": "interrupted", "reason": "the timeout of 5 s is over"}
    assert json.loads((folder / "status.json").read_text()) == status
    monkeypatch.syspath_prepend(tmp_path)
    sweep_here(*command)
    assert "the timeout" not in capsys.readouterr().out
    assert [state in ("COMPLETE", "PRUNED") for state in states_of(folder)] == [True] * 2
    assert json.loads((folder / "status.json").read_text()) == {"state": "complete"}


@pytest.mark.campaign
def test_a_timeout_before_the_first_result_says_so(sweep_here, words, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        sweep_here(*words, "peft.r=2,4", "hydra.sweeper.timeout=0")
    assert ended.value.code == 1
    message = capsys.readouterr().err
    assert "No trial was completed: the timeout of 0 s is over." in message
    assert "finesweep resume outputs/sweeps/study" in message
    sweep_here(*words, "peft.r=2,4", "hydra.sweeper.timeout=null")
    assert len(states_of(sweep_folder(tmp_path))) == 2


OWN_PARTS = """
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler


class Listed(BaseSampler):
    def __init__(self, rates, seed):
        self.rates = rates
        assert isinstance(seed, int)

    def infer_relative_search_space(self, study, trial):
        return {}

    def sample_relative(self, study, trial, search_space):
        return {}

    def sample_independent(self, study, trial, name, distribution):
        return self.rates[trial.number]


class FirstOnly(BasePruner):
    def __init__(self, *, num_reports):
        self.num_reports = num_reports

    def prune(self, study, trial):
        return trial.number > 0 and len(trial.intermediate_values) >= self.num_reports
"""
OWN_CHOICES = {
    "sampler/listed": "_target_: mine.Listed\nrates: [0.001, 0.003, 0.002]\n",
    "pruner/first-only": "_target_: mine.FirstOnly\nnum_reports: 1\n",
}


@pytest.fixture
def own_choices(tmp_path):
    """Write a sampler and a pruner of a user's own, and config files that choose them; return the words."""
    (tmp_path / "mine.py").write_text(OWN_PARTS)
    for name, text in OWN_CHOICES.items():
        file = tmp_path / "own" / "hydra" / "sweeper" / f"{name}.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(f"# @package hydra.sweeper.{name.partition('/')[0]}\n{text}")
    folder = ("--config-dir", str(tmp_path / "own"))
    return [*folder, "hydra/sweeper/sampler=listed", "hydra/sweeper/pruner=first-only"]


@pytest.mark.campaign
def test_a_sampler_and_a_pruner_of_one_s_own_are_used_by_the_workers(call, words, tmp_path, own_choices):
    axis = "trainer.learning_rate=interval(1e-3,3e-3)"
    command = [*own_choices, *words, axis, "hydra.sweeper.n_trials=3", "hydra.sweeper.n_jobs=1", "-m"]
    done = call("train.py", *command, environment={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    trials = trials_of(sweep_folder(tmp_path))
    assert [trial.params["trainer.learning_rate"] for trial in trials] == [0.002, 0.003, 0.002]
    assert [trial.state.name for trial in trials] == ["COMPLETE", "PRUNED", "PRUNED"]
    assert [len(trial.intermediate_values) for trial in trials] == [2, 1, 1]


NO_SERVER = "postgresql+psycopg2://tester:canary-password@127.0.0.1:1/studies"


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (["hydra.sweeper.enqueue=[{peft.rr:2}]"], ["enqueue[0].peft.rr = 2", "Did you mean `peft.r`?"]),
        (["hydra.sweeper.enqueue=[{peft.r:2},{peft.r:3}]"], ["enqueue[1].peft.r = 3", "outside its axis"]),
        (["hydra.sweeper.n_trials=many"], ["hydra.sweeper.n_trials = many", "must be a whole number"]),
        (["hydra.sweeper.timeout=-1"], ["hydra.sweeper.timeout = -1", "0 or more"]),
        (
            ["sweeps=pareto", "hydra.sweeper.objectives=[objective,f1_weighted]"],
            ["hydra.sweeper.objectives = f1_weighted", "data.metrics=[...]"],
        ),
        (["hydra.sweeper.target=0.9", "sweeps=pareto"], ["hydra.sweeper.target", "single objective"]),
        (["hydra.sweeper.sampler._target_=optuna.samplers.TPESampl"], ["sampler._target_", "`TPESampler`"]),
        (["hydra/sweeper/sampler=random", "+hydra.sweeper.sampler.sed=1"], ["sampler.sed", "`seed`"]),
        (
            ["peft=lora", "sweeps=lora-deep", "peft.lora_alpha=8"],
            ["alpha_ratio", "Nothing in the config reads"],
        ),
        (["hydra.sweeper.sampler.seed=first"], ["hydra.sweeper.sampler.seed", "must be a whole number"]),
        (["hydra.sweeper.sampler=null"], ["hydra.sweeper.sampler = None", "must be a mapping"]),
        (["~hydra.sweeper.pruner._target_"], ["hydra.sweeper.pruner._target_", "hydra/sweeper/pruner="]),
        (["hydra.sweeper.pruner.reduction_factor=two"], ["pruner.reduction_factor", "a whole number"]),
        (["hydra.sweeper.custom_search_space=nowhere.mine"], ["custom_search_space", "package `nowhere`"]),
        (["hydra.sweeper.storage=${oc.env:NOWHERE}"], ["Environment variable 'NOWHERE' not found"]),
        ([f"hydra.sweeper.storage='{NO_SERVER}'"], ["hydra.sweeper.storage", "Connection refused"]),
        (["hydra.sweeper.storage=mysterysql://x"], ["hydra.sweeper.storage", "mysterysql"]),
    ],
)
@pytest.mark.often(every=3)
def test_a_setting_that_can_t_work_is_refused(sweep_here, words, tmp_path, capsys, setting, expected):
    with pytest.raises(SystemExit) as ended:
        sweep_here(*words, "peft.r=2,4", *setting)
    message = capsys.readouterr().err
    for text in expected:
        assert text in message
    assert "canary-password" not in message
    assert ended.value.code == 2
    assert not list(tmp_path.glob("outputs/sweeps/*/trials"))


def test_hydra_s_own_word_for_a_sweep_s_folder_counts(sweep_here, words, tmp_path):
    sweep_here(*words, "peft.r=2,4", f"hydra.sweep.dir={tmp_path / 'mine'}", "hydra.sweeper.detach=true")
    assert SweepFolder(tmp_path / "mine").manifest.is_file()
    assert not (tmp_path / "outputs" / "sweeps").exists()
