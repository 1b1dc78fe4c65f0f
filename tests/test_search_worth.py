"""Search rules replayed on tables: benchmarks/search_worth.py."""

import math
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from finesweep.data.labels import SINGLE
from finesweep.system.places import config_folder

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from worth_data import DATA_SETS
from worth_making import Grid, curve
from worth_memory import nearest, prior
from worth_replay import Rule
from worth_report import outcome, report
from worth_rules import EARLIER, HISTORY, PRIOR, RULES, Search
from worth_tables import RANK, RATE, read_table, write_table

sys.path.pop()  # names there, such as plain.py, are others' too

RANKS, RATES, SEEDS = (2, 4, 8, 16, 32), (3e-4, 6e-4, 1e-3, 2e-3, 4.5e-3, 1e-2), (0, 1, 2)
PEAK = 4.5e-3
JOB = Path(__file__).with_name("table_job.py")


def rows(noise: float):
    """Return a table's rows, whose test score falls off around one rate and grows a little with the rank."""
    draw = random.Random(0)
    for rank in RANKS:
        for rate in RATES:
            test = 0.9 - 0.05 * abs(math.log(rate / PEAK)) + 0.002 * math.log2(rank)
            for seed in SEEDS:
                for evaluation in range(1, 9):
                    metric = test * (1 - math.exp(-evaluation)) + draw.gauss(0, noise)
                    yield {
                        RANK: rank, RATE: rate, "seed": seed, "evaluation": evaluation,
                        "step": 10 * evaluation, "metric": metric, "loss": 1 - metric, "test": test,
                        "seconds": float(evaluation), "predicted": answers(metric),
                    }  # fmt: skip


def answers(share: float) -> list[int]:
    """Return what a run says of 100 rows whose label is 1: as large a share of them is right."""
    return [int(row < 100 * share) for row in range(100)]


HEADER = {
    "data": "made-up", "default": [8, 2e-3], "metric": "accuracy", "truth": [1] * 100,
    "labels": {"names": ["no", "yes"], "values": ["no", "yes"], "problem_type": SINGLE},
    "features": {
        "task": SINGLE, "pairs": False, "rows": 200, "labels": 2, "words": 12.0,
        "evenness": 1.0, "model": "tiny", "method": "peft.LoraConfig",
    },
}  # fmt: skip


@pytest.fixture
def table_file(tmp_path):
    def call(noise: float = 0.0) -> Path:
        path = tmp_path / "tables" / "made-up.parquet"
        write_table(path, rows(noise), HEADER)
        return path

    return call


@pytest.fixture
def table(table_file):
    return read_table(table_file())


def test_a_table_is_read_as_it_was_written(table):
    assert (table.ranks, table.rates, table.seeds) == (list(RANKS), sorted(RATES), list(SEEDS))
    assert table.header["data"] == "made-up"
    assert table.default == (8, 2e-3)
    assert len(table.curves[8, 2e-3][1].metric) == 8
    assert table.truth((32, PEAK)) == pytest.approx(table.best) == pytest.approx(0.91)


def test_a_rate_between_two_is_the_nearer_one_by_ratio(table):
    assert table.nearest(4, 1.4e-3) == (4, 1e-3)
    assert table.nearest(4, 1.5e-3) == (4, 2e-3)


def test_only_seeds_that_every_point_has_count(tmp_path):
    kept = [row for row in rows(0) if (row["seed"], row[RANK]) != (2, 4)]
    write_table(tmp_path / "part.parquet", kept, {"default": [8, 2e-3]})
    assert read_table(tmp_path / "part.parquet").seeds == [0, 1]


def test_without_pruning_every_trial_is_trained_to_its_end(table):
    rule = Rule(table, RULES["no pruning"])
    alone, together = rule.replay(0), rule.replay(0, workers=12)
    assert (alone.whole, alone.spent, alone.pruned) == (12, 12, 0)
    assert (together.whole, together.spent) == (1, 12)


def test_pruning_spares_evaluations_but_not_the_winner_of_a_table_without_noise(table):
    at_random = "hydra/sweeper/sampler=random"
    words = [(at_random, *RULES[name].words) for name in ("no pruning", EARLIER)]
    whole, pruned = (Rule(table, Search(one)).replay(0) for one in words)
    assert pruned.winner == whole.winner
    assert pruned.pruned
    assert pruned.spent < whole.spent


def test_the_same_seed_is_the_same_search_and_another_one_isn_t(table):
    rule = Rule(table, RULES["ASHA by objective"])
    assert rule.replay(3) == rule.replay(3)
    assert len({rule.replay(seed).named for seed in range(4)}) > 1


def test_a_winner_counts_as_near_the_best_from_when_on_it_stays_so(table):
    found = Rule(table, RULES["no pruning"]).replay(1)
    last, _ = found.named[-1]
    assert found.time_to(table.truth(found.winner), table) == last
    assert found.time_to(table.best + 0.01, table) == math.inf
    assert found.time_to(0, table) == found.named[0][0]


def test_a_winner_is_held_against_the_default_by_its_test_score(table):
    found = outcome(table, Rule(table, RULES["no pruning"]).replay(0))
    assert found.gain == pytest.approx(table.truth(found.went.winner) - table.truth((8, 2e-3)))
    assert 0 < found.gain <= found.possible


def test_finalists_have_the_other_seeds_and_are_beyond_the_trials(table_file):
    table, words = read_table(table_file(noise=0.02)), RULES["no pruning"].words
    alone = Rule(table, Search(words)).replay(0)
    further = Rule(table, Search((*words, "hydra.sweeper.finalists=3"))).replay(0)
    assert alone.spent == 12
    assert further.spent in (16, 18, 20)  # the best, and one, two or three that it isn't told apart from


def test_what_ships_is_the_rule_that_won(table_file):
    table = read_table(table_file(noise=0.02))
    shipped, won = (Rule(table, one) for one in (Search(), RULES["loss at 3"]))
    assert [shipped.replay(seed) for seed in range(3)] == [won.replay(seed) for seed in range(3)]
    assert shipped.replay(0) != Rule(table, RULES[EARLIER]).replay(0)


def test_a_memory_of_other_tables_puts_their_best_points_first(table):
    for memory in (PRIOR, HISTORY):
        remembering = Rule(table, Search(memory=memory), [table, table]).replay(0)
        point = table.ranking[0] if memory == PRIOR else Rule(table, RULES[EARLIER]).replay(0).ranking[0]
        assert remembering.named[0][1] == table.default
        assert point in remembering.ranking


def test_a_prior_is_each_table_s_own_order_and_a_history_the_nearest_three(table):
    assert prior([table])[0].points[0] == {RANK: "32", RATE: "0.0045"}
    far = replace(table, header=HEADER | {"features": HEADER["features"] | {"task": "regression"}})
    near = [replace(table, header=HEADER | {"data": name}) for name in "abcd"]
    assert [one.header["data"] for one in nearest(table, [far, *near])] == ["a", "b", "c"]


def test_a_rule_may_keep_the_default_unless_the_winner_is_told_apart_from_it(table):
    words = RULES["no pruning"].words
    in_doubt, best = (Rule(table, Search(words, keeps=keeps)).replay(0) for keeps in (True, False))
    assert best.winner != table.default
    assert in_doubt.winner == table.default


def test_grace_prunes_fewer(table_file):
    table = read_table(table_file(noise=0.02))
    strict, lenient = (Rule(table, replace(RULES[EARLIER], grace=grace)).replay(0) for grace in (0.0, 1.0))
    assert lenient.pruned < strict.pruned


def test_the_report_has_a_line_for_each_rule_and_table_and_sums_up(table):
    lines = list(report([table, table], ["no pruning", "median"], studies=2, workers=2))
    assert sum(line.startswith("| no pruning |") for line in lines) == 3
    assert "**All 2 data sets**\n" in lines


@pytest.mark.parametrize("name", ["loss at 2", pytest.param("ASHA by objective", marks=pytest.mark.campaign)])
@pytest.mark.campaign
def test_a_real_sweep_over_the_same_curves_goes_as_its_replay(table_file, tmp_path, name):
    table = read_table(table_file(noise=0.02))
    words = [
        f"hydra.searchpath=[file://{config_folder()}]", "hydra/sweeper=finesweep", *RULES[name].words,
        "hydra.output_subdir=null", "hydra.sweeper.direction=maximize", "hydra.sweeper.n_jobs=1",
        "hydra.sweeper.seed=4", f"hydra.sweeper.folder={tmp_path / 'study'}",
        f"{RANK}={','.join(map(str, RANKS))}", f"{RATE}=tag(log,interval(3e-4,1e-2))",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(JOB), "-m", *words],
        cwd=tmp_path,
        env={**os.environ, "TABLE": str(table_file(noise=0.02)), "TABLE_SEED": "1"},  # the fifth study's seed
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    trials = optuna.load_study(
        study_name="study", storage=f"sqlite:///{tmp_path}/study/study.db"
    ).get_trials()
    found = Rule(table, RULES[name]).replay(4)
    best = max((trial for trial in trials if trial.state.name == "COMPLETE"), key=lambda trial: trial.value)
    assert found.winner == table.nearest(best.params[RANK], best.params[RATE])
    assert found.pruned == sum(trial.state.name == "PRUNED" for trial in trials)
    assert found.spent == sum(len(trial.intermediate_values) for trial in trials) / 8


def test_a_finished_run_s_curve_is_its_evaluations_and_its_test_score(finished):
    run = finished()
    lines = curve(run.folder)
    assert [line["step"] for line in lines] == [2, 4]
    assert max(line["metric"] for line in lines) == pytest.approx(run.objective)
    assert {line["test"] for line in lines} == {run.metrics["test/accuracy"]}
    assert lines[0][RANK] == run.config["peft"]["r"]
    assert curve(run.folder / "adapter") == []


def test_the_sweep_of_a_grid_has_every_point_and_seed_and_its_trials_read_the_test_split(tmp_path):
    grid = Grid((4, 8), (1e-3, 2e-3), (0, 1, 2), words=["threads=1"])
    command = grid.command("tweets", tmp_path)
    assert {"peft.r=4,8", "seed=0,1,2", "data.task=regression", "threads=1"} <= set(command)
    assert {"hydra.sweeper.n_trials=12", "hydra.sweeper.purpose=confirm"} <= set(command)


def test_no_text_is_in_two_splits_and_they_never_change():
    data = DATA_SETS["topics"]
    one, again = (data.splits(Path()) for _ in range(2))
    assert one == again
    assert tuple(len(one[split]) for split in ("train", "validation", "test")) == data.sizes
    texts = [{row[key].lower() for row in part for key in row if key != "label"} for part in one.values()]
    assert not texts[0] & texts[1]
    assert not texts[0] & texts[2]
    assert not texts[1] & texts[2]
