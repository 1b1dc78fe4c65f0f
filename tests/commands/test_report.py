"""The report: what it says of sweeps of every kind, and that nothing in it can break the page."""

import json
import re
from dataclasses import replace

import pytest
from omegaconf import OmegaConf

from finesweep.commands.report import markdown
from finesweep.commands.report.command import write_report
from finesweep.commands.report.figures import figures, slices
from finesweep.commands.report.page import render
from finesweep.commands.report.record import read_sweep
from finesweep.commands.report.words import words_of
from finesweep.errors import FinesweepError
from finesweep.runs.layout import RunFolder
from finesweep.sweeps.verdict import Verdict
from finesweep.system.sweep_folder import SweepFolder
from folders import NASTY, draws, make_run, make_sweep, trial


@pytest.fixture
def many(tmp_path):
    """Return a sweep of every state of trial."""
    trials = [trial(n, values=(0.8 + 0.001 * (n % 11),)) for n in range(12)]
    trials += [trial(n, "PRUNED", (0.5,)) for n in range(12, 15)]
    trials += [trial(n, "FAIL", error=f"ValueError: {NASTY}") for n in range(15, 17)]
    trials += [trial(17, "FAIL", error="OSError: no space"), trial(18, "RUNNING"), trial(19, "WAITING")]
    return make_sweep(tmp_path / "many", trials)


def test_everything_is_drawn_and_said(many):
    sweep = read_sweep(many)
    drawn, left_out = figures(sweep)
    assert [figure.id for figure in drawn] == [
        "history", "curves", "importances", "parallel", "contour", "size", "timeline"]  # fmt: skip
    assert not left_out
    assert sorted(figure.title for figure in slices(sweep)) == ["peft.r", "trainer.learning_rate"]
    words = words_of(sweep)
    assert words.sentences[0].endswith("12 complete, 3 pruned, 3 failed, 1 running, 1 waiting.")
    assert sweep.best.number == 10
    assert f"trial 10, reached objective {0.81:.4f}" in words.sentences[1]
    assert words.failures == [(f"ValueError: {NASTY}", [15, 16]), ("OSError: no space", [17])]
    assert [row[0][1] for row in words.rows[:2]] == [10, 9]
    page = write_report(many).read_text()
    assert len(page) < 5_000_000
    assert (many / "report.md").read_text().startswith("# study")
    assert {"history.png", "curves.png", "importances.png"} <= {f.name for f in (many / "pictures").iterdir()}
    shown = re.findall(
        r'id="([\w-]+)" role="img" aria-label="([^"]+)"></div>\s*<noscript><img [^>]*alt="([^"]+)"', page
    )
    assert [name for name, *_ in shown] == ["history", "curves", "importances", "slice-0", "slice-1"]
    assert all(label == alternative for _, label, alternative in shown)
    assert "<noscript>" not in write_report(many, pictures=False).read_text()


def test_trial_0_is_called_the_config_as_it_stood_where_it_was(many):
    sweep = read_sweep(many)
    assert "as it stood" not in str(words_of(sweep).sentences)
    was = replace(sweep, default=sweep.trials[0].params)
    assert "Trial 0, the config as it stood, reached 0.8000." in words_of(was).sentences
    assert "as it stood" not in str(words_of(replace(sweep, default=sweep.trials[1].params)).sentences)


def test_a_winner_that_trained_in_a_pack_is_shown_with_what_it_reached_alone(many):
    make_run(many / "alone" / "10", draws(0.7), objective="objective")
    best = read_sweep(many).best
    assert best.metrics.keys() == {"test/objective"}
    said = words_of(read_sweep(many)).sentences
    assert f"Trained once more alone, after its pack, it reached {best.alone:.4f}: that run is used." in said
    page = write_report(many, pictures=False).read_text()
    assert f"<dt>the same, trained alone</dt><dd>{best.alone:.4f}</dd>" in page
    assert f"On the test split, which it alone has read, once: {best.alone:.4f}." in page


def test_nothing_of_a_name_is_read_as_html_or_markdown(many):
    page = write_report(many, pictures=False).read_text()
    before = page[: page.index('<script type="text/plain"')]
    assert NASTY not in before
    assert "&lt;script&gt;alert(1)" in before
    assert re.search(r"(?<!\\)<script", (many / "report.md").read_text()) is None


def test_a_page_of_200_trials_with_long_curves_is_below_5_mb(many):
    sweep = read_sweep(many)
    curve = tuple((step, 0.123456789 + step / 7e5) for step in range(500))
    trials = [replace(sweep.trials[n % 12], number=n, curve=curve) for n in range(200)]
    big = replace(sweep, trials=tuple(trials), order=tuple(range(200)))
    assert len(render(big, words_of(big))) < 5_000_000


@pytest.mark.parametrize(
    ("trials", "left_out"),
    [
        ([], "no trial has started"),
        ([trial(0, "FAIL", error="x")], "no trial has a value"),
        ([trial(0, values=(0.5,))], "1 trials with a value are too few"),
        ([trial(n, "PRUNED", (0.5,)) for n in range(5)], "All trials have the same value"),
        ([trial(n, values=(0.5,)) for n in range(5)], "All trials have the same value"),
        ([trial(n, values=(0.5 + n,), space={}) for n in range(5)], "Parallel coordinates"),
    ],
)
@pytest.mark.often(every=3)
def test_what_can_t_be_drawn_is_said(tmp_path, trials, left_out):
    folder = make_sweep(tmp_path / "few", trials)
    _, reasons = figures(read_sweep(folder))
    assert any(left_out in reason for reason in reasons), reasons
    assert write_report(folder).is_file()


@pytest.mark.parametrize(
    ("state", "asked", "is_offered"),
    [("complete", 2, False), ("running", 2, False), ("running", 3, True), ("interrupted", 2, True)],
)
def test_what_is_left_of_a_sweep_can_be_finished(tmp_path, state, asked, is_offered):
    folder = make_sweep(tmp_path / "few", [trial(0, values=(0.5,)), trial(1, "PRUNED", (0.4,))])
    sweep = replace(read_sweep(folder), state=state, n_trials=asked)
    assert ("finish the sweep" in words_of(sweep).commands) is is_offered


def test_several_objectives_have_a_front_instead_of_a_best(tmp_path):
    trials = [trial(n, values=(0.5 + n / 10, 1000.0 * n)) for n in range(4)] + [
        trial(4, values=(0.4, 5000.0))
    ]
    folder = make_sweep(tmp_path / "two", trials, ("maximize", "minimize"), ["accuracy", "trainable"])
    sweep = read_sweep(folder)
    assert sweep.front == (0, 1, 2, 3)
    drawn, _ = figures(sweep)
    assert drawn[0].id == "front"
    assert "4 of them are the Pareto front" in " ".join(words_of(sweep).sentences)
    assert "run trial 0 again" in words_of(sweep).commands
    write_report(folder)
    assert [file.name for file in (folder / "pictures").iterdir()] == ["pareto.png"]


def test_less_is_better_where_it_is(tmp_path):
    trials = [trial(n, values=(0.5 - n / 100,)) for n in range(3)]
    sweep = read_sweep(make_sweep(tmp_path / "loss", trials, ("minimize",)))
    assert sweep.order == (2, 1, 0)
    history = next(figure for figure in figures(sweep)[0] if figure.id == "history")
    assert history.data[-1]["y"] == [0.5, 0.49, 0.48, 0.48]


def test_a_confirmation_is_a_section_of_its_own(many):
    one = {
        "name": "winner",
        "trial": 3,
        "overrides": {},
        "values": [0.9],
        "mean": 0.9,
        "sd": 0.0,
        "low": 0.8,
        "high": 1.0,
    }
    pair = {
        "of": "winner",
        "over": "default",
        "mean": 0.01,
        "low": -0.01,
        "high": 0.03,
        "verdict": "not told apart",
    }
    content = {
        "metric": "test/accuracy",
        "candidates": [one],
        "differences": [pair],
        "words": f"So it is {NASTY}.",
    }
    (many / "confirm.json").write_text(json.dumps(content))
    page = write_report(many, pictures=False).read_text()
    assert "Confirmed with fresh seeds" in page
    assert "not told apart" in page
    assert "winner over default" in (many / "report.md").read_text()


def judged(sweep, words="Trial 10: accuracy +0.030 over the config as it stood."):
    return replace(sweep, verdict=Verdict((words,), {9: False, 0: True}), default=sweep.trials[0].params)


def test_the_verdict_stands_first_and_says_that_nothing_is_confirmed(many):
    sweep = judged(read_sweep(many))
    words = words_of(sweep)
    said = "Trial 10: accuracy +0.030 over the config as it stood."
    assert words.verdict == [said, "Not confirmed with other seeds."]
    page = render(sweep, words)
    assert page.index(said) < page.index('class="headline"')
    assert "not confirmed" in page
    text = markdown.render(sweep, words)
    assert text.index("Not confirmed") < text.index("12 complete")
    told = {row[0][1]: row[3][0] for row in words.rows}
    assert words.columns[3] == "told apart"
    assert (told[10], told[9], told[0], told[1]) == ("", "no", "yes", "")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ("trial 10", "the default"),
            "Confirmed with 2 fresh seeds: trial 10: test/accuracy +0.020 over the config",
        ),
        (("trial 10", "trial 0"), "over the config as it stood (95% +0.010 to +0.030"),
        (("trial 10", "trial 4"), "Confirmed with 2 fresh seeds: trial 10 reached test/accuracy 0.9100."),
        (("trial 4", "the default"), "Not confirmed with other seeds."),
    ],
)
@pytest.mark.often(every=2)
def test_after_a_confirmation_its_numbers_stand_there(many, names, said):
    row = {"name": names[0], "values": [0.9, 0.92], "mean": 0.91, "sd": 0.01, "low": 0.9, "high": 0.92}
    gap = {"of": names[0], "over": names[1], "mean": 0.02, "low": 0.01, "high": 0.03, "verdict": "better"}
    found = {"metric": "test/accuracy", "words": "", "candidates": [row], "differences": [gap]}
    sweep = replace(judged(read_sweep(many)), confirmed=found)
    words = words_of(sweep)
    assert said in " ".join(words.verdict)
    is_its = names[0] == "trial 10"
    page = render(sweep, words)
    assert ("mean of fresh seeds" in page) is is_its
    assert ("not confirmed" in page) is not is_its


def test_what_is_no_sweep_is_refused(tmp_path):
    with pytest.raises(FinesweepError, match=r"holds a sweep\.yaml"):
        write_report(tmp_path)
    folder = make_sweep(tmp_path / "gone", [])
    (folder / "study.db").unlink()
    with pytest.raises(FinesweepError, match=r"study\.db is gone"):
        write_report(folder)


def test_a_stranger_s_storage_is_not_called(tmp_path):
    folder = make_sweep(tmp_path / "strange", [])
    content = OmegaConf.load(folder / "sweep.yaml")
    content.settings.storage = {"_target_": "os.system", "command": "touch /tmp/seen"}
    (folder / "sweep.yaml").write_text(OmegaConf.to_yaml(content))
    with pytest.raises(FinesweepError, match=r"os\.system"):
        write_report(folder)


@pytest.mark.parametrize(("probe", "is_beaten"), [(0.9, True), (0.96, False)])
@pytest.mark.often("0.9-True")
def test_the_winners_probe_stands_beside_its_baseline(many, probe, is_beaten):
    folder = RunFolder(SweepFolder(many).trial(10))
    folder.path.mkdir(parents=True)
    result = {
        "objective": {"metric": "accuracy", "direction": "maximize", "value": 0.81},
        "metrics": {"test/accuracy": 0.95},
        "baseline": {"test/accuracy": 0.2345},
        "probe": {"test/accuracy": probe},
        "parameters": {"trainable": 12_000},
        "timings": {},
        "prediction": {"texts": 200, "seconds": 0.5, "device": "cpu"},
    }
    folder.result.write_text(json.dumps(result))
    sentences = " ".join(words_of(read_sweep(many)).sentences)
    page = write_report(many, pictures=False).read_text()
    assert f"<dd>{probe:.4f}</dd>" in page
    assert "<dd>0.2345</dd>" in page
    assert "2.5 ms a text: the test split&#39;s 200 on a cpu" in page
    if is_beaten:
        assert "the probe, a linear model on the frozen encoder, 0.9000; the baseline" in sentences
    else:
        assert "does not beat its probe: accuracy 0.9500 on the test split" in sentences
        assert "not beaten" in page
        assert "does not beat its probe" in (many / "report.md").read_text()


def test_where_a_point_comes_from_and_whom_a_run_repeats_stand_beside_it(tmp_path):
    remembered = trial(1, values=(0.8,), remembered="from sweep tickets, 1st of 9")
    again = trial(0, values=(0.7,), finalist=0, seed=1)
    folder = make_sweep(tmp_path / "sweep", [trial(0, values=(0.75,)), remembered, again])
    words = words_of(read_sweep(folder))
    assert words.columns[-1] == "origin"
    origins = {row[0][0]: row[-1][0] for row in words.rows}
    assert origins == {"0": "", "1": "from sweep tickets, 1st of 9", "2": "finalist: trial 0 with seed 1"}
    assert words.sentences[0].startswith("2 of 3 trials")
    assert words.sentences[1] == "Further runs with other seeds: 1, of trials 0. The best mean wins."
