"""Commands that tests start are forked (forked.py): what a process can tell of itself is as at a user's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

import forked

TOLD = """
import json, os, signal, subprocess, sys

SELF = [sys.executable, __file__, "child"]

def told():
    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
    handlers = {number.name: str(signal.getsignal(number)) for number in stops}
    loaded = [name for name in ("torch", "transformers", "sklearn", "finesweep") if name in sys.modules]
    streams = [(stream.encoding, stream.errors, stream.line_buffering, stream.write_through, stream.fileno())
               for stream in (sys.stdin, sys.stdout, sys.stderr)]
    return {
        "words": [sys.argv, sys.orig_argv, sys.executable, __name__, __file__],
        "folder": os.getcwd(), "environment": dict(os.environ), "path": sys.path, "loaded": loaded,
        "parent": os.getppid() == int(os.environ["PARENT"]), "session": os.getsid(0) == os.getpid(),
        "handlers": handlers, "streams": streams, "files": sorted(os.listdir("/proc/self/fd"))[:3],
        "umask": os.umask(0o22),
    }

if sys.argv[1:] == ["child"]:
    print(json.dumps(told()))
else:
    print("a complaint", file=sys.stderr)
    environment = {**os.environ, "PARENT": str(os.getpid())}
    pipes = {"capture_output": True, "text": True, "start_new_session": True}
    child = subprocess.run(SELF, env=environment, check=True, **pipes)
    print(json.dumps({"own": told(), "asked": sys.stdin.read(), "child": json.loads(child.stdout)}))
    sys.exit(3)
"""


@pytest.fixture(params=["forked", "started"])
def started(request, monkeypatch, tmp_path):
    """Return a function that writes a script and starts it, in one of the two ways."""
    if request.config.getoption("--real-starts"):
        pytest.skip("nothing is forked with --real-starts")
    if request.param == "started":
        monkeypatch.setattr(subprocess, "Popen", forked.REAL)

    def call(text: str, *words: str, **options) -> subprocess.Popen:
        (tmp_path / "script.py").write_text(text)
        environment = {**os.environ, "PARENT": str(os.getpid()), **options.pop("environment", {})}
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        command = [sys.executable, str(tmp_path / "script.py"), *words]
        return subprocess.Popen(command, env=environment, cwd=tmp_path, text=True, **{**pipes, **options})

    return call


@pytest.fixture(scope="module")
def others():
    """Remember what the first of both ways told."""
    return {}


def test_a_forked_command_tells_of_itself_and_of_its_children_what_a_started_one_does(
    started, others, tmp_path
):
    process = started(TOLD, "a word")
    out, err = process.communicate("a question", timeout=60)
    told = json.loads(out.replace(str(tmp_path), "FOLDER"))
    assert (process.returncode, err) == (3, "a complaint\n")
    assert told["asked"] == "a question"
    assert [told["own"][key] for key in ("parent", "session", "loaded")] == [True, False, []]
    assert [told["child"][key] for key in ("parent", "session", "loaded")] == [True, True, []]
    for one in (told["own"], told["child"]):
        one["environment"] = {
            k: v for k, v in one["environment"].items() if k not in ("PARENT", "PYTEST_CURRENT_TEST")
        }
    assert told == others.setdefault("told", told)


def test_it_ends_as_it_is_ended(started):
    for number in (signal.SIGTERM, signal.SIGKILL):
        process = started("import time\nprint('here', flush=True)\ntime.sleep(60)")
        assert process.stdout.readline() == "here\n"
        process.send_signal(number)
        assert process.wait(timeout=30) == -number
        process.communicate()
    process = started("raise ValueError('of its own')")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.endswith("ValueError: of its own\n")


def test_sitecustomize_comes_first_and_ctrl_c_may_be_ignored(started, tmp_path):
    (tmp_path / "start-up").mkdir()
    (tmp_path / "start-up" / "sitecustomize.py").write_text("print('first')")
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = started(
            "import signal\nprint(signal.getsignal(signal.SIGINT))",
            environment={"PYTHONPATH": str(tmp_path / "start-up")},
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.communicate(timeout=60)[0].split() == ["first", str(signal.SIG_IGN)]


def test_torch_is_imported_as_one_and_only_when_it_is_asked_for(started):
    code = "import sys\nbefore = 'torch' in sys.modules\nimport torch.nn\nones = torch.ones(3)\n"
    code += "print(before, 'torch.optim' in sys.modules, torch.__spec__.name, float(ones @ ones))"
    out, err = started(code).communicate(timeout=120)
    assert out.split() == ["False", "True", "torch", "3.0"], err


def test_what_a_fork_can_t_do_is_started():
    server = forked.Server({"LANG": "C"})
    script, same = [sys.executable, "train.py"], {"LANG": "C", "X": "1", "PYTHONPATH": "src"}
    assert server.takes(script, same, {})
    assert server.takes([sys.executable, "-m", "finesweep.sweeps.worker"], same, {})
    assert not server.takes([sys.executable, "-X", "importtime", "train.py"], same, {})
    assert not server.takes([sys.executable, "-c", "print()"], same, {})
    assert not server.takes(["git", "status"], same, {})
    assert not server.takes(script, {**same, "HF_HUB_OFFLINE": "0"}, {})
    assert not server.takes(script, same, {"preexec_fn": os.getpid})
