"""A sweep that begins where an earlier one ended: hydra.sweeper.memory on real folders."""

import shutil
from dataclasses import replace

import yaml

from commands import leaderboard, trials_of
from finesweep.runs.features import read_features
from folders import FEATURES, make_finished

RATE = "trainer.learning_rate"
AXES = ["peft.r=2,4,8,16", f"{RATE}=tag(log,interval(1e-4,1e-1))", "hydra.sweeper.n_trials=3"]


def test_a_sweep_begins_with_what_did_well_and_keeps_it(sweep_here, words, tmp_path, capsys):
    sweeps = tmp_path / "outputs" / "sweeps"
    near = replace(FEATURES, rows=50, words=8.0, labels=3)
    earlier = make_finished(
        sweeps / "tickets", [{"peft.r": 16, RATE: 0.02}, {"peft.r": 8, RATE: 0.002}], near
    )
    make_finished(sweeps / "pages", [{"peft.r": 2, RATE: 0.05}], replace(near, method="peft.IA3Config"))
    command = [*words, *AXES, "trainer.max_steps=2", "test=false", "hydra.sweeper.memory=auto"]
    sweep_here(*command)
    said = capsys.readouterr().out.splitlines()
    assert any("1 of the points that did well in 2 sweeps" in line for line in said), said
    assert any(one.startswith("trial   1") and one.endswith("(from sweep tickets, 1st of 2)") for one in said)

    study = sweeps / "study"
    point = {"peft.r": 16, RATE: 0.02}
    kept = yaml.safe_load((study / "sweep.yaml").read_text())["remembered"]
    assert kept == [{"point": point, "sweep": "tickets", "rank": 1, "of": 2}]
    assert [trial.params for trial in trials_of(study)[:2]] == [{"peft.r": 8, RATE: 0.002}, point]
    told = {row["number"]: row["remembered"] for row in leaderboard(study)}
    assert told == {"0": "", "1": "from sweep tickets, 1st of 2", "2": ""}
    own = read_features(study / "trials" / "0" / "provenance.json")
    assert (own.task, own.method, own.pairs) == (FEATURES.task, FEATURES.method, False)

    shutil.rmtree(earlier)
    sweep_here(*command)
    assert yaml.safe_load((study / "sweep.yaml").read_text())["remembered"] == kept
    assert len(trials_of(study)) == 3
