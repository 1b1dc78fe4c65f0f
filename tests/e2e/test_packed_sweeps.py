"""Sweeps whose workers have several trials at a time."""

import json
import os
import signal

import pytest
from omegaconf import OmegaConf

from commands import leaderboard, states_of, sweep_folder, trials_of, wait_for
from finesweep.config.saved import read_config
from finesweep.sweeps.attributes import RETRIES
from finesweep.sweeps.holders import LEASE

PACKED = ["hydra.sweeper.trials_per_worker=3"]
FIVE = ["peft.r=2,3,4,5,8", "hydra.sweeper.n_trials=5", "hydra/sweeper/pruner=none"]


def run_of(folder, name):
    return json.loads((folder / name).read_text())


def test_packed_trials_leave_what_lone_ones_do_and_the_winner_is_trained_alone(
    call_here, sweep_here, words, tmp_path, capsys
):
    sweep_here(*words, *PACKED, *FIVE)
    said = capsys.readouterr().out
    assert "5 trials with this process, 3 at a time" in said
    folder = sweep_folder(tmp_path)
    assert states_of(folder) == ["COMPLETE"] * 5
    rows = leaderboard(folder)
    best, other = (folder / "trials" / row["number"] for row in rows[:2])
    for row in rows:
        trial = folder / "trials" / row["number"]
        assert run_of(trial, "provenance.json")["speedups"] == ["packed"]
        assert run_of(trial, "provenance.json")["packed"] == {"slots": 3}
        assert OmegaConf.create(read_config(trial / "config.yaml")).peft.r == int(row["peft.r"])
        log = (trial / "train.log").read_text()
        assert log.count("adapter    trains") == 1  # its own lines alone
        assert run_of(trial, "adapter/adapter_config.json")["r"] == int(row["peft.r"])
    winner = folder / "alone" / best.name
    assert run_of(winner, "status.json")["state"] == "complete"
    assert "packed" not in run_of(winner, "provenance.json")["speedups"]
    tested = {row["number"]: float(row["test/accuracy"]) for row in rows if row.get("test/accuracy")}
    assert tested == {best.name: run_of(winner, "result.json")["metrics"]["test/accuracy"]}
    assert f"trial {best.name}, trained once more alone: what is tested" in said
    assert f"finesweep reproduce outputs/sweeps/study/alone/{best.name}" in said

    again = call_here("finesweep", "reproduce", str(winner))
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Equal to the last bit" in again.stdout
    packed = call_here("finesweep", "reproduce", str(other))
    assert "It trained in a pack, and now by itself" in packed.stdout
    predicted = call_here("finesweep", "predict", str(folder), str(tmp_path / "tiny.csv"), "-o", "found.csv")
    assert predicted.returncode == 0, predicted.stderr
    assert call_here("finesweep", "ls").returncode == 0


def test_an_adapter_from_a_pack_loads_with_plain_peft(sweep_here, words, tmp_path):
    from peft import AutoPeftModelForSequenceClassification

    sweep_here(*words, *PACKED, "peft.r=2,8", "hydra/sweeper/pruner=none")
    for row in leaderboard(sweep_folder(tmp_path)):
        adapter = sweep_folder(tmp_path) / row["folder"] / "adapter"
        model = AutoPeftModelForSequenceClassification.from_pretrained(adapter)
        ranks = {weight.shape[0] for name, weight in model.named_parameters() if "lora_A" in name}
        assert ranks == {int(row["peft.r"])}


@pytest.mark.campaign
def test_a_pruned_trial_s_place_is_taken_at_once(sweep_here, words, tmp_path):
    more = ["peft.r=2,3,4,5,6,7,9", "hydra.sweeper.n_trials=7", "trainer.eval_steps=1", "trainer.max_steps=8"]
    more += ["hydra.sweeper.n_startup_trials=0"]
    eager = ["hydra.sweeper.pruner._target_=optuna.pruners.ThresholdPruner", "++hydra.sweeper.pruner.lower=2"]
    kept = [word for word in words if not word.startswith(("trainer.max_steps", "trainer.eval_steps"))]
    with pytest.raises(SystemExit):  # all of them are pruned at their first evaluation
        sweep_here(*kept, *PACKED, *more, "hydra/sweeper/pruner=none", *eager)
    trials = trials_of(sweep_folder(tmp_path))
    assert [trial.state.name for trial in trials] == ["PRUNED"] * 7
    assert all(list(trial.intermediate_values) == [1] for trial in trials)


@pytest.fixture
def long_words(words):
    """Return the overrides of a packed sweep of three trials that take longer than a test waits."""
    kept = [word for word in words if not word.startswith(("trainer.max_steps", "trainer.eval_steps"))]
    sizes = ["peft.r=2,3,4", "trainer.max_steps=60", "trainer.eval_steps=10", "hydra/sweeper/pruner=none"]
    return [*kept, *PACKED, *sizes, "peft.lora_dropout=0", "hydra.sweeper.n_jobs=1", "-m"]


def is_training(root, number):
    metrics = root / f"outputs/sweeps/study/trials/{number}/metrics.jsonl"
    return metrics.exists() and '"validation/' in metrics.read_text()


@pytest.mark.campaign
def test_ctrl_c_and_kill_lose_nothing_of_a_pack(start, call, long_words, tmp_path):
    """Each trial goes on from its own checkpoint, first after a kill, then after Ctrl-C."""
    process = start(*long_words)
    output = tmp_path / "output.txt"
    wait_for(lambda: all(is_training(tmp_path, number) for number in range(3)), process, output)
    folder = sweep_folder(tmp_path)
    pids = {trial.system_attrs[LEASE]["pid"] for trial in trials_of(folder)}
    assert len(pids) == 1
    os.kill(pids.pop(), signal.SIGKILL)
    wait_for(lambda: any(trial.system_attrs.get(RETRIES) for trial in trials_of(folder)), process, output)
    wait_for(lambda: states_of(folder).count("RUNNING") > 0, process, output)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 130, output.read_text()
    states = states_of(folder)
    assert set(states) <= {"WAITING", "COMPLETE"}, states

    done = call("finesweep", "resume", "outputs/sweeps/study")
    assert done.returncode == 0, done.stdout + done.stderr
    assert states_of(folder) == ["COMPLETE"] * 3
    for trial in trials_of(folder):
        lines = (folder / f"trials/{trial.number}/metrics.jsonl").read_text().splitlines()
        steps = [line["step"] for line in map(json.loads, lines) if "train/loss" in line]
        assert steps == list(range(1, 61))
