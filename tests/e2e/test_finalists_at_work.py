"""A sweep with finalists: real runs with further seeds, and one winner that is tested."""

import yaml

from commands import leaderboard, sweep_folder


def test_finalists_are_run_with_further_seeds_and_only_the_winner_is_tested(
    sweep_here, words, tmp_path, capsys
):
    axes = ["peft.r=4,8", "trainer.max_steps=1", "trainer.eval_steps=1"]
    sweep_here(*words, *axes, "hydra.sweeper.n_trials=2", "hydra.sweeper.finalists=2")
    said, folder = capsys.readouterr().out, sweep_folder(tmp_path)
    assert "(finalist: trial 0 with seed 1)" in said
    assert "finalists  4 further runs of trials 0, 1, which one seed did not tell apart" in said
    rows = leaderboard(folder)
    assert sorted((row["peft.r"], row["finalist"], row["seed"]) for row in rows) == [
        (rank, number, seed)
        for rank, number in (("4", "1"), ("8", "0"))
        for number, seed in (("", ""), (number, "1"), (number, "2"))
    ]
    assert {row["seeds"] for row in rows} == {"3"}
    assert [row["test/accuracy"] != "" for row in rows] == [True, *[False] * 5]
    for row in rows:
        config = yaml.safe_load((folder / "trials" / row["number"] / "config.yaml").read_text())
        assert config["seed"] == int(row["seed"] or 0)
