"""What the tests share: configs, a tiny model in the hub's layout, and quiet surroundings."""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import pytest
from hypothesis import settings

import forked
from tiny import make_model

# Before any library is imported: no network, no tracker's key.
os.environ |= {"HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline", "TOKENIZERS_PARALLELISM": "false"}
os.environ["OMP_WAIT_POLICY"] = "passive"  # a thread that waits leaves its core to another test
for name in ("WANDB_API_KEY", "HF_TOKEN"):
    os.environ.pop(name, None)

# Tests that run side by side get cores of their own: threads that wait for each other's cores are slow.
if "PYTEST_XDIST_WORKER" in os.environ:
    number, count = int(os.environ["PYTEST_XDIST_WORKER"][2:]), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[number::count] or cores)


def pytest_addoption(parser):
    """Let all commands start as they do at a user's."""
    parser.addoption(
        "--real-starts", action="store_true", help="start every command anew: see tests/forked.py"
    )


def pytest_configure(config):
    """Fork the commands that tests start from a process that has imported what they need."""
    if not config.getoption("--real-starts"):
        forked.install(dict(os.environ))


# How long an example takes says nothing on a machine that others use too.
settings.register_profile("finesweep", deadline=None)
settings.load_profile("finesweep")


def _leave_to_campaign(items):
    """Mark the tests whose parameters are not among those that `often` names or counts."""
    seen = Counter()
    for item in items:
        often = item.get_closest_marker("often")
        if often is None:
            continue
        place = seen[item.path, item.originalname]
        seen[item.path, item.originalname] += 1
        every = often.kwargs.get("every")
        is_named = any(fnmatch(item.callspec.id, name) for name in often.args)
        if not is_named and (every is None or place % every):
            item.add_marker("campaign")


# Long ones begin first, so that at the end of a run all workers have something left to do.
BEGIN_FIRST = ("training", "e2e", "faults", "matrix", "test_other_systems.py")


@pytest.hookimpl(tryfirst=True)  # before -m is looked at
def pytest_collection_modifyitems(items):
    """Leave what is seldom tried to the campaign, and order by the first part of the path below tests/."""
    _leave_to_campaign(items)
    here = Path(__file__).parent

    def place(item):
        first = item.path.relative_to(here).parts[0]
        return BEGIN_FIRST.index(first) if first in BEGIN_FIRST else len(BEGIN_FIRST)

    items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Keep what the tests cache, and their key, away from the user's own; but warm between tests."""
    os.environ["FINESWEEP_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(autouse=True)
def _no_hydra_left_over():
    """Hydra keeps global state; no test may see another's."""
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    yield
    GlobalHydra.instance().clear()


_imported: set[str] = set()


@pytest.fixture(autouse=True)
def _no_search_through_imports():
    """What has been imported stays, as in a sweep's worker: searching it for cycles took a third of a run."""
    yield
    if sys.modules.keys() - _imported:
        _imported.update(sys.modules)
        gc.collect()
        gc.freeze()


@pytest.fixture
def few_resamples(monkeypatch):
    """Let `evaluate` draw 20 resamples instead of 1,000, for tests that don't look at its intervals."""
    from finesweep.metrics import intervals

    monkeypatch.setattr(intervals, "RESAMPLES", 20)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    """Return a folder with a random 2-layer BERT, 32 wide, and MiniLM's tokenizer, in the hub's layout."""
    return make_model(tmp_path_factory.mktemp("tiny-bert"), "bert")


@pytest.fixture(scope="session")
def tiny_csv_text() -> str:
    """Return 60 short texts in 3 easily told labels, as CSV."""
    words = {"animals": "cat dog horse", "numbers": "one two three", "colours": "red green blue"}
    lines = ["text,label"]
    for i in range(60):
        label = list(words)[i % 3]
        lines.append(f"the {words[label].split()[i % 2]} number {i} is {words[label].split()[2]},{label}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def tiny_csv(tmp_path, tiny_csv_text) -> Path:
    """Return a CSV file of these texts."""
    file = tmp_path / "tiny.csv"
    file.write_text(tiny_csv_text)
    return file


@pytest.fixture
def tiny_overrides(tiny_model, tiny_csv, tmp_path) -> list[str]:
    """Return the overrides of a run that takes a second: 4 steps of the tiny model on the tiny file."""
    return [
        "data=csv",
        "baseline=none",  # tests/runs/test_probing.py is about it
        f"data.source.train={tiny_csv}",
        f"model.name={tiny_model}",
        "tokenizer.max_length=16",
        "trainer.max_steps=4",
        "trainer.eval_steps=2",
        "trainer.per_device_train_batch_size=8",
        "tracker=none",
        "threads=1",
        "name=tiny",
        f"output_dir={tmp_path / 'outputs'}",
    ]


@pytest.fixture
def finished(tiny_overrides):
    """Return a function that runs the tiny config with more overrides."""
    from composing import compose_config
    from finesweep.runs.run import run

    def call(*overrides: str, monitors=(), folder=None):
        words = [*tiny_overrides, *overrides]
        return run(compose_config(*words), overrides=words, monitors=monitors, folder=folder)

    return call
