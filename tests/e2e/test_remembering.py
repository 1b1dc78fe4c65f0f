"""Sweeps that begin where earlier ones ended: hydra.sweeper.memory on real folders."""

import shutil

import pytest
import yaml

from commands import leaderboard, trials_of

AXES = ["peft.r=2,4,8,16", "trainer.learning_rate=tag(log,interval(1e-4,1e-1))", "hydra.sweeper.n_trials=3"]
GOAL = ["objective.metric=loss", "objective.direction=minimize", "trainer.max_steps=2", "test=false"]


@pytest.fixture
def search(sweep_here, words, tmp_path):
    """Return a function that searches under a name, and returns the sweep's folder and manifest."""

    def run(name: str, *more: str):
        kept = [word for word in words if word != "name=study"]
        sweep_here(*kept, *AXES, *GOAL, f"name={name}", *more)
        folder = tmp_path / "outputs" / "sweeps" / name
        return folder, yaml.safe_load((folder / "sweep.yaml").read_text())

    return run


def test_a_sweep_begins_with_what_did_well_and_keeps_it(search, capsys):
    first, content = search("first", "hydra.sweeper.enqueue=[{peft.r:16,trainer.learning_rate:2e-2}]")
    assert content["remembered"] == []
    before = trials_of(first)
    assert leaderboard(first)[0]["number"] == "1"  # the point that was enqueued
    capsys.readouterr()

    second, content = search("second", "hydra.sweeper.memory=auto")
    point = {"peft.r": 16, "trainer.learning_rate": 2e-2}
    assert content["remembered"] == [{"point": point, "sweep": "first", "rank": 1, "of": 3}]
    after = trials_of(second)
    assert [trial.params for trial in after[:2]] == [before[0].params, point]
    assert [(one.params, one.values) for one in after] == [(one.params, one.values) for one in before]
    lines = capsys.readouterr().out.splitlines()
    assert any(
        line.startswith("trial   1") and line.endswith("(from sweep first, 1st of 3)") for line in lines
    )
    told = {row["number"]: row["remembered"] for row in leaderboard(second)}
    assert told == {"0": "", "1": "from sweep first, 1st of 3", "2": ""}

    shutil.rmtree(first)
    _, again = search("second", "hydra.sweeper.n_trials=4", "hydra.sweeper.memory=auto")
    assert again["remembered"] == content["remembered"]
    assert len(trials_of(second)) == 4
