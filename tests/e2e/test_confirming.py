"""`finesweep confirm` on a sweep that was run."""

import json

import pytest

from finesweep.commands.confirm.candidates import read_field
from finesweep.commands.confirm.command import confirm
from finesweep.commands.resume import resume
from finesweep.config.saved import read_config
from finesweep.errors import FinesweepError
from finesweep.system.records import read_json

HERE = "hydra.sweeper.n_jobs=0"


@pytest.mark.campaign
def test_a_sweep_is_confirmed_and_more_seeds_add_to_what_is_there(sweep_here, words, tmp_path, capsys):
    sweep_here(*words, "peft.r=2,4", "hydra/sweeper/pruner=none")
    sweep = tmp_path / "outputs" / "sweeps" / "study"
    found = confirm(sweep, 1, 2, [HERE])
    winner = read_field(sweep, 1).candidates[0].choice
    assert [one["name"] for one in found["candidates"]] == [winner.replace("-", " "), "the default"]
    assert found["seeds"] == [1, 2]
    runs = sorted((sweep / "confirm" / "trials").iterdir())
    assert len(runs) == 4
    for folder in runs:
        assert {"test/accuracy", "validation/accuracy"} <= set(read_json(folder / "result.json")["metrics"])
    ranks = {(c["seed"], c["peft"]["r"]) for c in (read_config(folder / "config.yaml") for folder in runs)}
    rank = read_config(sweep / "trials" / winner.removeprefix("trial-") / "config.yaml")["peft"]["r"]
    assert ranks == {(1, rank), (1, 8), (2, rank), (2, 8)}
    assert "Confirmed with fresh seeds" in (sweep / "report.html").read_text()
    assert found["words"] in capsys.readouterr().out

    before = {folder: (folder / "result.json").stat().st_mtime_ns for folder in runs}
    more = confirm(sweep, 1, 3, [HERE], as_json=True)
    assert json.loads(capsys.readouterr().out) == more
    assert more["candidates"][0]["values"][:2] == found["candidates"][0]["values"]
    assert {folder: (folder / "result.json").stat().st_mtime_ns for folder in runs} == before
    assert len(list((sweep / "confirm" / "trials").iterdir())) == 6

    with pytest.raises(FinesweepError, match="finesweep confirm"):
        resume(sweep / "confirm")
    with pytest.raises(FinesweepError, match="by now"):
        confirm(sweep, 2, 3, [HERE])
