"""`trials=30 workers=2`: a sweep's, or a user's own keys where a config has them."""

import pytest
from hydra.errors import HydraException

from finesweep.config.build import register_resolvers
from finesweep.config.diagnosis import repair
from finesweep.errors import ConfigError


def repaired(*words):
    register_resolvers()
    return repair(list(words), HydraException("Could not override"))


def faults_of(*words):
    with pytest.raises(ConfigError) as caught:
        repaired(*words)
    return caught.value.faults


def test_they_are_short_for_a_sweep_s_settings():
    words = repaired("--multirun", "trials=30", "peft.r=2,4", "workers=0", "seed=3")
    expected = ["hydra.sweeper.n_trials=30", "peft.r=2,4", "hydra.sweeper.n_jobs=0", "seed=3"]
    assert words == ["--multirun", *expected]


def test_a_single_run_has_neither():
    trials, workers = faults_of("trials=30", "workers=2")
    assert (trials.where, workers.where) == ("trials", "workers")
    assert "the number of a sweep's trials, and this is one run" in trials.rule
    assert trials.fix.endswith("-m trials=30")


def test_they_are_no_axes():
    (fault,) = faults_of("--multirun", "trials=10,20")
    assert "one number, not an axis" in fault.rule


def test_a_slip_in_one_is_told():
    (fault,) = faults_of("--multirun", "trails=30")
    assert "Did you mean `trials`?" in fault.rule


def test_a_key_of_the_user_s_own_stays_what_it_is(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "trials: 3\nworkers: {a: 1}\nseed: ${workers.a}\nthreads: ${trials}\n"
    )
    options = ["--multirun", "--config-path", str(tmp_path), "--config-name", "mine"]
    words = [*options, "trials=4,5", "workers.a=2"]
    with pytest.raises(ConfigError, match="Could not override"):  # nothing of it was ours to mend
        repaired(*words)
