"""What a sweep takes over from earlier ones, by tables as they are left behind and by replayed studies."""

import json
import os
from dataclasses import asdict, replace
from functools import partial

import optuna
import pytest
from filelock import FileLock
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from finesweep.errors import ConfigError, FinesweepError
from finesweep.sweeps.attributes import FIXED
from finesweep.sweeps.history import Finished, read_finished, sweeps_in
from finesweep.sweeps.holders import Worker
from finesweep.sweeps.plan import Plan, Settings
from finesweep.sweeps.points import first_points
from finesweep.sweeps.portfolio import choose, fitted
from finesweep.sweeps.recall import drops, recall
from finesweep.sweeps.remembered import Remembered, from_manifest
from finesweep.sweeps.space import Space
from finesweep.sweeps.study import Study
from folders import FEATURES as OWN
from folders import make_finished

RATE = FloatDistribution(1e-4, 1e-2, log=True)
SPACE = Space({"peft.r": CategoricalDistribution((2, 4, 8, 16)), "rate": RATE}, ())
DEFAULT = {"peft.r": 8, "rate": 2e-3}


def found(*points, name="earlier", features=OWN):
    """Return an earlier sweep by its points, best first; each third of them counts as good."""
    texts = [{"peft.r": str(rank), "rate": str(rate)} for rank, rate in points]
    rest = [{"peft.r": "2", "rate": "0.0001"}] * (2 * len(texts))
    return Finished(name, features, (*texts, *rest))


def chosen(*earlier, count=4, default=DEFAULT, space=SPACE, own=OWN):
    return choose(earlier, own, space, default, [default] if default else [], count)


def test_a_sweep_is_as_near_as_its_features_are_alike():
    assert OWN.distance(OWN) == 0
    larger = replace(OWN, rows=15_000)
    assert OWN.distance(larger) == larger.distance(OWN) == pytest.approx(1)
    assert OWN.distance(replace(OWN, labels=20, words=50.0)) == pytest.approx(2)
    assert OWN.distance(replace(OWN, model="bert")) == 1
    for other in ({"task": "regression"}, {"pairs": True}, {"method": "peft.IA3Config"}):
        assert OWN.distance(replace(OWN, **other)) is None


def test_the_best_points_of_the_nearest_sweep_come_first_and_say_where_from():
    far = found((4, 5e-3), name="far", features=replace(OWN, rows=150_000))
    first, second = chosen(far, found((16, 6e-4), name="tickets"))
    assert (first.point, str(first)) == ({"peft.r": 16, "rate": 6e-4}, "from sweep tickets, 1st of 3")
    assert (second.point, second.sweep) == ({"peft.r": 4, "rate": 5e-3}, "far")
    assert chosen(found((16, 6e-4), features=replace(OWN, rows=15_000_000))) == []


def test_points_are_spread_out_rather_than_alike():
    points = [(16, 6.0e-4), (16, 6.1e-4), (16, 6.2e-4), (2, 8e-3)]
    assert [one.rank for one in chosen(found(*points), count=2)] == [1, 4]
    assert len(chosen(found(*points), count=9)) == 2  # the others are as good as known
    assert chosen(found((8, 2.05e-3))) == []  # the config as it stands is tried anyway


def test_what_did_no_better_there_than_the_config_as_it_stands_is_left_out():
    assert [one.rank for one in chosen(found((16, 6e-4), (8, 2e-3), (2, 8e-3)))] == [1]


def test_an_axis_that_was_not_searched_is_left_as_it_stands():
    (one,) = chosen(Finished("earlier", OWN, ({"rate": "0.0005"},)))
    assert one.point == {"peft.r": 8, "rate": 5e-4}
    (one,) = chosen(Finished("earlier", OWN, ({"rate": "0.0005"},)), default={})
    assert one.point == {"rate": 5e-4}  # the sampler chooses the other


def test_values_come_onto_the_new_axes_or_are_left_out():
    assert fitted(RATE, "0.5") == 1e-2
    assert fitted(FloatDistribution(0.0, 0.3, step=0.1), "0.26") == pytest.approx(0.3)
    assert fitted(IntDistribution(2, 10, step=2), "7.2") in (6, 8)
    assert fitted(IntDistribution(1, 64, log=True), "100") == 64
    choices = CategoricalDistribution((8, 0.5, True, None, "'a b'"))
    values = ("8.0", "0.5", "True", "'a b'")
    assert [fitted(choices, text) for text in values] == [8, 0.5, True, "'a b'"]
    for axis, text in (
        (RATE, "nan"),
        (RATE, "${oc.env:HOME}"),
        (choices, "1"),
        (choices, "_target_: os.system"),
    ):
        with pytest.raises(ValueError, match=r"^$|could not convert"):
            fitted(axis, text)
    assert chosen(found((32, 6e-4))) == []


@pytest.fixture
def left(tmp_path):
    """Return a function that leaves a finished sweep behind."""

    def leave(name="tickets", **others):
        points = [{"peft.r": 16, "rate": 6e-4}, {"peft.r": 2, "rate": 8e-3}]
        return make_finished(tmp_path / "sweeps" / name, points, **others)

    return leave


def test_a_finished_sweep_is_read_from_its_tables(left):
    read = read_finished(left(), ["rate", "peft.r", "other"])
    assert read == Finished(
        "tickets", OWN, ({"rate": "0.0006", "peft.r": "16"}, {"rate": "0.008", "peft.r": "2"})
    )


def test_what_is_not_finished_or_about_something_else_says_nothing(left):
    assert read_finished(left("cut-off", state="interrupted"), ["rate"]) is None
    assert read_finished(left("other-axes"), ["trainer.weight_decay"]) is None
    assert read_finished(left("several", front="true"), ["rate"]) is None


def test_a_folder_from_a_stranger_is_read_as_data_or_not_at_all(left):
    wrong = [{}, {**asdict(OWN), "rows": -1}, {**asdict(OWN), "words": 1e999}, {**asdict(OWN), "model": [1]}]
    for place, features in enumerate(wrong):
        folder = left(f"broken-{place}")
        (folder / "trials" / "7" / "provenance.json").write_text(json.dumps({"features": features}))
        with pytest.raises(FinesweepError, match="damaged"):
            read_finished(folder, ["rate"])
    folder = left("pipes")
    (folder / "trials" / "7" / "provenance.json").unlink()
    os.mkfifo(folder / "trials" / "7" / "provenance.json")
    with pytest.raises(FinesweepError, match="no file"):
        read_finished(folder, ["rate"])
    (folder / "leaderboard.csv").unlink()
    os.mkfifo(folder / "leaderboard.csv")
    assert folder not in sweeps_in([folder.parent])


def test_folders_are_sweeps_or_hold_them_and_must_be_there(left):
    first, second = left("first"), left("second")
    assert set(sweeps_in([first.parent])) == set(sweeps_in([first, second, first])) == {first, second}
    with pytest.raises(ConfigError, match=r"hydra\.sweeper\.memory\[1\]"):
        sweeps_in([first, first / "nowhere"])


def test_a_manifest_s_points_lie_in_the_space_or_are_refused(tmp_path):
    one = Remembered({"peft.r": 16, "rate": 6e-4}, "tickets", 3, 24)
    assert from_manifest(tmp_path, [one.to_manifest()], SPACE.axes) == (one,)
    assert str(one) == "from sweep tickets, 3rd of 24"
    for point in ({"peft.r": 3}, {"rate": 1.0}, {"rate": "x"}, {"hydra.callbacks": 1}):
        with pytest.raises(FinesweepError, match="can't have"):
            from_manifest(tmp_path, [{**one.to_manifest(), "point": point}], SPACE.axes)


POINTS = [{"peft.r": 16, "rate": 6e-4}, {"peft.r": 2, "rate": 8e-3}, {"peft.r": 4, "rate": 5e-3}]


@pytest.fixture
def replayed(tmp_path):
    """Return a function that runs a sweep whose scores are given, and returns its trials."""

    def run(*scores, half_width=0.02, direction="maximize", n_trials=12):
        kept = tuple(Remembered(point, "tickets", place + 1, 9) for place, point in enumerate(POINTS))
        settings = Settings(
            direction, n_trials, 0, {"_target_": "optuna.samplers.TPESampler"}, {}, memory="auto"
        )
        plan = Plan(tmp_path, settings, SPACE, OmegaConf.create(), None, None, DEFAULT, remembered=kept)
        sampler, pruner = optuna.samplers.TPESampler, optuna.pruners.NopPruner()
        lock = FileLock(tmp_path / "lock")
        storage = optuna.storages.InMemoryStorage()
        study = Study("s", storage, [direction], lambda seed: sampler(seed=seed), pruner, 0, lock, tmp_path)
        plan = replace(plan, points=tuple(first_points(plan, study)))
        (tmp_path / "trials" / "0").mkdir(parents=True)
        result = {"objective": {"metric": "accuracy"}, "half_widths": {"validation/accuracy": half_width}}
        (tmp_path / "trials" / "0" / "result.json").write_text(json.dumps(result))
        worker = Worker.here()
        take = lambda: study.take(  # noqa: E731
            worker,
            SPACE.axes,
            n_trials,
            plan.points,
            drops=partial(drops, plan, study),
        )
        for score in scores:
            trial = take()
            if score is None:
                study.fail(trial, worker, "diverged")
            else:
                study.tell(trial, worker, [score])
        return study.trials()

    return run


def tried(trials):
    """Return which of the remembered points were tried."""
    return [POINTS.index(point) for trial in trials if (point := trial.system_attrs.get(FIXED)) in POINTS]


def test_remembered_points_follow_the_config_as_it_stands(replayed):
    trials = replayed(0.8, 0.7, 0.85, 0.8, 0.8)
    assert [trial.params for trial in trials[:4]] == [DEFAULT, *POINTS]
    assert FIXED not in trials[4].system_attrs


@pytest.mark.parametrize("scores", [(0.8, 0.7, 0.75), (0.8, None, 0.5), (0.8, None, None)])
def test_a_memory_whose_first_two_points_lose_clearly_is_given_up(replayed, scores):
    trials = replayed(*scores, *[0.8] * 9)
    assert tried(trials) == [0, 1]
    assert len(trials) == 12  # the third's place is the sampler's
    assert trials[3].params not in POINTS


@pytest.mark.parametrize("scores", [(0.8, 0.79, 0.5), (0.8, 0.5, 0.785), (None, 0.5, 0.5)])
def test_points_within_the_noise_or_without_a_default_to_beat_go_on(replayed, scores):
    assert tried(replayed(*scores, 0.8)) == [0, 1, 2]


def test_where_less_is_better_a_loss_is_a_larger_number(replayed):
    assert tried(replayed(0.8, 0.9, 0.9, 0.8, direction="minimize")) == [0, 1]


def test_a_sweep_without_memory_or_without_a_choice_takes_nothing_over(tmp_path, left, capsys):
    left()
    sampler = {"_target_": "optuna.samplers.TPESampler"}
    base = OmegaConf.create({"objective": {}})

    def recalled(base=base, space=SPACE, **others):
        settings = Settings(**{"direction": "maximize", "n_trials": 12, "n_jobs": 0, "sampler": sampler,
                               "pruner": {}, "memory": "auto", **others})  # fmt: skip
        folder = tmp_path / "sweeps" / "new"
        return recall(Plan(folder, settings, space, OmegaConf.create(), None, None, DEFAULT), base)

    ranks = Space({"peft.r": SPACE.axes["peft.r"]}, ())
    assert recalled(memory="none") == recalled(n_trials=2) == recalled(purpose="confirm") == ()
    assert recalled(direction=["maximize", "minimize"]) == recalled(base=OmegaConf.create()) == ()
    assert recalled(space=ranks) == ()  # every point is tried anyway
    assert capsys.readouterr().out == ""
    (tmp_path / "sweeps" / "tickets" / "trials" / "7" / "provenance.json").write_text("{}")
    assert recalled() == ()
    said = capsys.readouterr().out
    assert said.startswith("memory     tickets is passed over: ")
    assert "has no features" in said
