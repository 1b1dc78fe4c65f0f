"""Trials are handed out once each; leases decide who may speak for one."""

import os
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from filelock import FileLock
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages._rdb.models import TrialModel
from optuna.trial import TrialState
from sqlalchemy import event

from finesweep.sweeps.attributes import ERROR
from finesweep.sweeps.changes import NOBODY, Change
from finesweep.sweeps.counting import num_left
from finesweep.sweeps.holders import LEASE, LeaseLost, Terms, Worker, is_gone_here
from finesweep.sweeps.lease import LeaseKeeper
from finesweep.sweeps.outline import OutlinedStorage
from finesweep.sweeps.plan import Plan, Settings
from finesweep.sweeps.space import Space
from finesweep.sweeps.study import Study
from finesweep.sweeps.trial import CurrentTrial, TrialMonitor
from finesweep.system.places import config_folder

AXES = {"x": FloatDistribution(0, 1), "n": IntDistribution(1, 9)}
PLANE = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}


@pytest.fixture
def open_study(tmp_path):
    def call(seed: int = 0, name: str = "s", directions=("maximize",), terms: Terms | None = None) -> Study:
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{tmp_path / 'study.db'}", engine_kwargs={"connect_args": {"timeout": 60}}
        )
        sampler = lambda seed: optuna.samplers.TPESampler(seed=seed)  # noqa: E731
        return Study(
            name,
            storage,
            directions,
            sampler,
            optuna.pruners.NopPruner(),
            seed,
            FileLock(tmp_path / "lock"),
            tmp_path,
            terms=terms,
        )

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return call


class Clock:
    """A watcher's clock, which stands still between its looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def looks(self, study: Study, count: int, every_s: float = 10) -> list[list[int]]:
        """Let a study look for trials without a worker every few seconds; return what it took back."""
        found = []
        for _ in range(count):
            self.now += every_s
            found.append(study.reclaim(2, alive))
        return found


def gone(_lease) -> bool:
    return True


def alive(_lease) -> bool:
    return False


def test_workers_that_ask_at_once_get_every_number_once(open_study):
    open_study()

    def work(_):
        study, worker, numbers = open_study(), Worker.here(), []
        while (trial := study.take(worker, AXES, 24)) is not None:
            study.tell(trial, worker, [trial.params["x"]])
            numbers.append(trial.number)
        return numbers

    with ThreadPoolExecutor(4) as pool:
        taken = [number for numbers in pool.map(work, range(4)) for number in numbers]
    assert sorted(taken) == list(range(24))
    assert {trial.state.name for trial in open_study().trials()} == {"COMPLETE"}


def test_no_more_trials_than_the_total_and_the_given_points_first(open_study):
    study, worker = open_study(), Worker.here()
    points = [{"x": 0.5, "n": 3}]
    assert num_left(study.trials(), 2) == 2
    assert study.take(worker, AXES, 2, points).params == points[0]
    assert study.take(worker, AXES, 2, points).params != points[0]
    assert study.take(worker, AXES, 2, points) is None
    assert num_left(study.trials(), 2) == 0
    assert num_left(study.trials(), 5) == 3
    assert study.take(worker, AXES, 3, points).number == 2


def test_parameters_follow_from_the_study_s_seed_and_the_number(open_study):
    def draw(seed, name):
        study, worker = open_study(seed, name), Worker.here()
        return [study.take(worker, AXES, 3).params for _ in range(3)]

    assert draw(0, "a") == draw(0, "b")
    assert draw(0, "c") != draw(1, "d")
    assert len({str(params) for params in draw(0, "e")}) == 3


def test_a_dead_worker_s_trial_comes_back_with_its_number_and_parameters(open_study):
    study = open_study()
    first = study.take(Worker.here(), AXES, 1)
    assert study.reclaim(2, alive) == []
    assert study.reclaim(2, gone) == [0]
    again = study.take(Worker.here(), AXES, 1)
    assert (again.number, again.params) == (first.number, first.params)


def test_a_lease_that_ran_out_is_reclaimed_wherever_its_worker_was(open_study):
    clock = Clock()
    study = open_study(terms=Terms(lease_s=60, clock=clock))
    study.take(Worker.here(), AXES, 1)
    assert study.reclaim(2, alive) == []
    assert clock.looks(study, 6) == [[], [], [], [], [], [0]]


@pytest.mark.parametrize("ahead_s", [-365 * 86400, 365 * 86400])
def test_leases_run_out_by_the_watcher_s_clock_whatever_the_holder_s_clock_says(open_study, ahead_s):
    clock, holder = Clock(), Worker.here()
    watcher = open_study(terms=Terms(lease_s=60, clock=clock))
    elsewhere = open_study(terms=Terms(wall=lambda: time.time() + ahead_s))
    trial = elsewhere.take(holder, AXES, 1)
    for _ in range(8):  # longer than a lease, and renewed all the time
        assert clock.looks(watcher, 1) == [[]]
        elsewhere.renew(trial._trial_id, holder)
    assert clock.looks(watcher, 7) == [[], [], [], [], [], [], [0]]


def test_of_the_time_in_which_nobody_looked_little_counts_against_a_lease(open_study):
    clock = Clock()
    study = open_study(terms=Terms(lease_s=60, renew_s=10, clock=clock))
    study.take(Worker.here(), AXES, 1)
    study.reclaim(2, alive)
    # This process was stopped, or the storage was away: so may the holder have been.
    assert clock.looks(study, 1, every_s=500) == [[]]
    assert clock.looks(study, 5) == [[], [], [], [], [0]]


def test_a_trial_just_taken_without_a_lease_yet_is_left_alone(open_study):
    study = open_study()
    study.optuna.ask()
    assert study.reclaim(2, alive) == []


def test_who_looks_for_trials_without_a_worker_reads_those_that_run_alone(open_study):
    """Idle workers do at the end of a sweep, under the lock: 10,000 trials may have ended by then."""
    study, worker, read = open_study(), Worker.here(), []
    for _ in range(3):
        study.tell(study.take(worker, AXES, 4), worker, [1.0])
    study.take(worker, AXES, 4)
    looker = open_study()
    note = lambda row, _context: read.append(row.number)  # noqa: E731
    event.listen(TrialModel, "load", note)
    assert looker.reclaim(2, gone) == [3]
    event.remove(TrialModel, "load", note)
    assert set(read) == {3}


def test_retries_are_bounded(open_study):
    study = open_study()
    for _ in range(3):
        assert study.take(Worker.here(), AXES, 1)
        study.reclaim(2, gone)
    (trial,) = study.trials("FAIL")
    assert "died 3 times" in trial.user_attrs[ERROR]
    assert study.take(Worker.here(), AXES, 1) is None


def test_trials_whose_workers_were_ended_on_purpose_are_no_retries(open_study):
    study = open_study()
    for _ in range(3):
        study.take(Worker.here(), AXES, 1)
        assert study.reclaim(0, gone, is_retry=False) == [0]
    assert study.take(Worker.here(), AXES, 1)
    study.reclaim(0, gone)
    assert len(study.trials("FAIL")) == 1


def test_a_worker_is_known_to_be_gone_on_its_own_host_alone():
    ended = subprocess.Popen(["true"])
    ended.wait()
    lease = {"host": socket.gethostname(), "pid": ended.pid}
    assert is_gone_here(lease)
    assert not is_gone_here({**lease, "host": "another-host"})
    assert not is_gone_here({**lease, "pid": os.getpid()})


def test_a_process_that_began_after_a_lease_is_another_one_under_its_number():
    lease = {"host": socket.gethostname(), "pid": os.getpid(), "since": "2020-01-01T00:00:00+00:00"}
    assert is_gone_here(lease)
    assert not is_gone_here({**Worker.here().lease(Terms()), "pid": os.getpid()})


@pytest.mark.parametrize("makes", ["database", "memory"])
def test_what_one_worker_says_of_a_trial_is_written_as_a_whole_or_not_at_all(tmp_path, makes):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    storage = optuna.storages.RDBStorage(url) if makes == "database" else optuna.storages.InMemoryStorage()
    outlined = OutlinedStorage(storage)
    study_id = outlined.create_new_study([optuna.study.StudyDirection.MINIMIZE], "s")
    worker, other = Worker.here(), Worker.here()
    waiting = optuna.trial.create_trial(state=TrialState.WAITING)
    trial_id = outlined.create_new_trial(study_id, waiting)
    taking = Change(TrialState.RUNNING, notes={LEASE: worker.lease(Terms())})
    assert [outlined.change(trial_id, taking) for _ in range(2)] == [True, False]
    said = Change(TrialState.COMPLETE, [1.0], attributes={"a": 1})
    assert not outlined.change(trial_id, said, other.token)
    assert not outlined.change(trial_id, Change(TrialState.WAITING), NOBODY)
    assert outlined.get_trial(trial_id).user_attrs == {}
    assert outlined.change(trial_id, said, worker.token)
    assert not outlined.change(trial_id, said, worker.token)
    ended = outlined.get_trial(trial_id)
    assert (ended.state, ended.values, ended.user_attrs) == (TrialState.COMPLETE, [1.0], {"a": 1})


def test_another_axis_of_the_same_name_is_refused_as_by_optuna(open_study):
    study, worker = open_study(), Worker.here()
    kinds = {"kind": CategoricalDistribution(["a", "b"])}
    for _ in range(2):
        study.tell(study.take(worker, kinds, 9), worker, [1.0])
    with pytest.raises(ValueError, match="dynamic value space"):
        study.take(worker, {"kind": CategoricalDistribution(["a", "c"])}, 9)


def test_a_trial_s_own_sampler_is_the_one_that_is_told_that_it_begins(open_study):
    begun = []

    class Noting(optuna.samplers.RandomSampler):
        def before_trial(self, study, trial):
            begun.append((self, trial.number))

    study, made = open_study(), []
    study._make_sampler = lambda seed: made.append(Noting(seed)) or made[-1]
    for _ in range(2):
        study.take(Worker.here(), AXES, 9)
    assert begun == [(made[0], 0), (made[1], 1)]


def test_a_lease_is_renewed_for_as_long_as_the_trial_runs(open_study):
    clock = Clock()
    watcher, study = open_study(terms=Terms(lease_s=60, clock=clock)), open_study(terms=Terms(renew_s=0.02))
    worker = Worker.here()
    trial = study.take(worker, AXES, 1)
    lease = lambda: watcher.trials()[0].system_attrs[LEASE]  # noqa: E731
    keeper = LeaseKeeper(study, worker, trial._trial_id)
    keeper.start()
    for _ in range(8):
        before, deadline = lease(), time.monotonic() + 60
        while lease() == before:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert clock.looks(watcher, 1) == [[]]
    keeper.stop()
    keeper.join()
    assert watcher.reclaim(2, alive) == []
    assert clock.looks(watcher, 6) == [[], [], [], [], [], [0]]


@pytest.mark.parametrize("event", ["on_log", "on_evaluate"])
def test_a_worker_that_wakes_without_its_lease_stops_at_once_and_reports_nothing(open_study, tmp_path, event):
    study, sleeper = open_study(terms=Terms(lease_s=0)), Worker.here()
    trial = study.take(sleeper, AXES, 1)
    keeper = LeaseKeeper(study, sleeper, trial._trial_id)
    monitor = TrialMonitor(CurrentTrial(0, tmp_path, "s", trial, lease=keeper))
    monitor.objective = "accuracy"
    getattr(monitor, event)(1, {"validation/accuracy": 0.1})
    reports = study.trials()[0].intermediate_values
    study.reclaim(2, gone)
    assert study.take(Worker.here(), AXES, 1)
    with pytest.raises(LeaseLost):
        getattr(monitor, event)(2, {"validation/accuracy": 0.9})
    assert study.trials()[0].intermediate_values == reports


@pytest.mark.parametrize("action", ["tell", "prune", "fail", "give_back", "renew"])
def test_a_worker_that_lost_its_lease_may_not_speak_for_the_trial(open_study, action):
    study, sleeper = open_study(), Worker.here()
    stale = study.take(sleeper, AXES, 1)
    study.reclaim(2, gone)
    owner = Worker.here()
    current = study.take(owner, AXES, 1)
    calls = {
        "tell": lambda: study.tell(stale, sleeper, [1.0]),
        "prune": lambda: study.prune(stale, sleeper),
        "fail": lambda: study.fail(stale, sleeper, "x"),
        "give_back": lambda: study.give_back(stale, sleeper),
        "renew": lambda: study.renew(stale._trial_id, sleeper),
    }
    with pytest.raises(LeaseLost):
        calls[action]()
    study.tell(current, owner, [2.0])
    with pytest.raises(LeaseLost):
        calls[action]()
    assert [trial.value for trial in study.trials("COMPLETE")] == [2.0]


def test_a_pruned_trial_keeps_its_last_report_and_a_failed_one_its_reason(open_study):
    study, worker = open_study(), Worker.here()
    pruned = study.take(worker, AXES, 3)
    pruned.report(0.25, 1)
    study.prune(pruned, worker)
    study.fail(study.take(worker, AXES, 3), worker, "out of memory")
    assert study.trials("PRUNED")[0].value == 0.25
    assert study.trials("FAIL")[0].user_attrs[ERROR] == "out of memory"


class Watching(optuna.samplers.RandomSampler):
    """Notes what it is told, and stumbles over a value of 0."""

    def after_trial(self, study, trial, state, values):
        study._storage.set_trial_system_attr(trial._trial_id, "told", [state.name, values])
        if values == [0.0]:
            raise RuntimeError("no zeros")


def test_a_sampler_s_own_hook_is_called_as_by_optuna_s_tell_and_by_the_trial_s_owner_alone(open_study):
    study, worker = open_study(), Worker.here()
    study._make_sampler = lambda seed: Watching(seed)
    study.tell(study.take(worker, AXES, 5), worker, [1.0])
    pruned = study.take(worker, AXES, 5)
    pruned.report(0.25, 1)
    study.prune(pruned, worker)
    study.fail(study.take(worker, AXES, 5), worker, "out of memory")
    with pytest.raises(RuntimeError, match="no zeros"):
        study.tell(study.take(worker, AXES, 5), worker, [0.0])
    stale = study.take(worker, AXES, 5)
    study.reclaim(2, gone)
    with pytest.raises(LeaseLost):
        study.tell(stale, worker, [2.0])
    told = [trial.system_attrs.get("told") for trial in study.trials()]
    assert told == [["COMPLETE", [1.0]], ["PRUNED", [0.25]], ["FAIL", None], ["COMPLETE", [0.0]], None]
    assert [trial.state.name for trial in study.trials()][3] == "COMPLETE"


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.filterwarnings(
    "ignore:`constraints_func` has been deprecated:FutureWarning"
)  # it works until 7.0
def test_constraints_are_computed_for_each_complete_trial(open_study):
    study, worker = open_study(), Worker.here()
    study._make_sampler = lambda seed: optuna.samplers.TPESampler(
        seed=seed, constraints_func=lambda trial: [trial.params["x"] - 0.5]
    )
    trial = study.take(worker, AXES, 1)
    study.tell(trial, worker, [1.0])
    assert study.trials()[0].system_attrs["constraints"] == [trial.params["x"] - 0.5]


class OwnSequence(optuna.samplers.QMCSampler):
    """A user's own sampler, which goes through the same sequence."""


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("target", ["optuna.samplers.QMCSampler", f"{__name__}.OwnSequence"])
@pytest.mark.often("optuna.samplers.QMCSampler")
def test_quasi_random_points_of_two_workers_are_one_sequence(tmp_path, target):
    """The trials' own seeds must not make it random: 64 points of a Sobol sequence hit each of 64 columns."""
    sampler = {"_target_": target, "scramble": True}
    settings = Settings("maximize", 65, 2, sampler, {"_target_": "optuna.pruners.NopPruner"})
    plan = Plan(tmp_path, settings, Space(AXES, ()), OmegaConf.create(), None, None)

    def draw() -> list[float]:
        study, worker, found = plan.open_study(), Worker.here(), []
        while (trial := study.take(worker, {"x": AXES["x"]}, 65, [{"x": 0.5}])) is not None:
            found.append(trial.params["x"])
            study.tell(trial, worker, [0.0])
        return found

    study, worker = plan.open_study(), Worker.here()
    first = study.take(worker, {"x": AXES["x"]}, 1, [{"x": 0.5}])
    study.tell(first, worker, [0.0])
    with ThreadPoolExecutor(2) as pool:
        drawn = [x for some in pool.map(lambda _: draw(), range(2)) for x in some]
    assert len({int(64 * x) for x in drawn}) == 64


@pytest.fixture(scope="module")
def at_random():
    """Return a memory of what the sampler that learns nothing finds."""
    return {}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "nsgaii"])
@pytest.mark.often("tpe")
def test_a_sampler_learns_from_the_trials_that_its_worker_has_run(tmp_path, at_random, sampler):
    """Optuna keeps a list of trials until its own `ask`; a worker that never drops it searches at random."""

    def draw(name: str) -> list[float]:
        node = OmegaConf.to_container(OmegaConf.load(config_folder() / f"hydra/sweeper/sampler/{name}.yaml"))
        settings = Settings("maximize", 40, 1, node, {"_target_": "optuna.pruners.NopPruner"}, name)
        plan = Plan(tmp_path, settings, Space(AXES, ()), OmegaConf.create(), None, None)
        study, worker, found = plan.open_study(), Worker.here(), []
        while (trial := study.take(worker, PLANE, 40)) is not None:
            found.append(-((trial.params["x"] - 0.3) ** 2) - (trial.params["y"] - 0.6) ** 2)
            study.tell(trial, worker, [found[-1]])
        return found

    if not at_random:
        at_random["found"] = sum(draw("random")[20:])
    assert sum(draw(sampler)[20:]) > 0.75 * at_random["found"]


def test_a_sampler_s_own_seed_is_the_study_s_as_with_the_official_sweeper(tmp_path):
    def first(study_seed: int, **own: int | None) -> float:
        sampler = {"_target_": "optuna.samplers.TPESampler", **own}
        pruner = {"_target_": "optuna.pruners.NopPruner"}
        settings = Settings("maximize", 1, 1, sampler, pruner, seed=study_seed)
        folder = tmp_path / f"{study_seed}{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        plan = Plan(folder, settings, Space(AXES, ()), OmegaConf.create(), None, None)
        return plan.open_study().take(Worker.here(), AXES, 1).params["x"]

    assert first(0, seed=3) == first(1, seed=3) == first(3)
    assert first(1, seed=None) == first(1) != first(0)
