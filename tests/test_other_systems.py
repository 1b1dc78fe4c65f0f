"""macOS and Windows, as far as Linux can tell: finesweep's code without what they lack."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SYSTEMS = ("darwin", "win32")
POORER_THAN_LINUX = pytest.mark.parametrize("system", SYSTEMS)


def on(system: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python as `system` would, and return how it ended."""
    paths = [str(HERE / "other_systems"), os.environ.get("PYTHONPATH", "")]
    own = {"OTHER_SYSTEM": system, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    environment = {**os.environ, **own, **variables}
    command = [sys.executable, *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def finesweep(system: str, *words: str) -> subprocess.CompletedProcess[str]:
    return on(system, "-m", "finesweep", *words)


@POORER_THAN_LINUX
def test_finesweep_is_imported_and_counts_its_cores(system):
    code = "import finesweep; from finesweep.system import machine; import finesweep.sweeps.team as team; "
    code += "print(team.sys.platform, hasattr(machine.os, 'sched_getaffinity'), "
    code += "hasattr(team.os, 'killpg'), machine.allowed_cores())"
    done = on(system, "-c", code)
    cores = os.cpu_count() if system == "darwin" else len(os.sched_getaffinity(0))
    expected = [system, "False", str(system == "darwin"), str(cores)]
    assert done.stdout.split() == expected, done.stderr


@POORER_THAN_LINUX
@pytest.mark.often("win32")
def test_the_help_is_there_and_a_mistake_is_named(system):
    shown = finesweep(system, "--help")
    assert (shown.returncode, "reproduce" in shown.stdout) == (0, True), shown.stderr
    refused = finesweep(system, "train", "peft.rr=4")
    assert refused.returncode == 2
    assert "finesweep: One thing to mend:\n\npeft.rr = 4  (command line)\n" in refused.stderr


@POORER_THAN_LINUX
@pytest.mark.often("win32")
def test_a_run_on_the_cpu_is_whole(system, tiny_overrides, tmp_path):
    done = finesweep(system, "train", *tiny_overrides)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "outputs" / "runs" / "tiny").iterdir()
    assert json.loads((folder / "status.json").read_text())["state"] == "complete"
    assert (folder / "backbone" / "model.safetensors").is_symlink() == (system == "darwin")
    again = finesweep(system, "reproduce", str(folder))
    assert (again.returncode, "Equal to the last bit" in again.stdout) == (0, True), again.stderr


def test_saved_words_are_read_as_they_were_written_whatever_the_system_s_encoding_is(tmp_path):
    code = "import sys; from pathlib import Path; from finesweep.system.files import write_text; "
    code += "from finesweep.config.authorship import is_own, marked; file = Path(sys.argv[1]); "
    code += "write_text(file, marked('name: M\\u00e4rz\\n')); print(is_own(file))"
    ascii_alone = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = on("win32", "-c", code, str(tmp_path / "config.yaml"), **ascii_alone)
    assert done.stdout.split() == ["True"], done.stderr


@POORER_THAN_LINUX
@pytest.mark.campaign
def test_a_sweep_has_workers(system, tiny_overrides, tmp_path):
    words = ["hydra.sweeper.n_jobs=1", "hydra/sweeper/pruner=none", "peft.r=2,4"]
    done = finesweep(system, "train", "-m", *tiny_overrides, *words)
    assert done.returncode == 0, done.stderr
    assert "best of 2 complete trials" in done.stdout


def test_trials_of_several_processes_need_process_groups(tiny_overrides):
    words = ["hydra.sweeper.processes_per_trial=2", "peft.r=2,4"]
    done = finesweep("win32", "train", "-m", *tiny_overrides, *words)
    assert done.returncode == 2
    assert "hydra.sweeper.processes_per_trial = 2\n  A trial of several processes is ended" in done.stderr


def test_a_process_notices_that_its_parent_is_gone_where_the_system_sends_no_signal(tmp_path):
    log = tmp_path / "log"
    child = "import signal, sys, time; from finesweep.system.processes import die_with_parent; "
    child += f"signal.signal(signal.SIGTERM, lambda *_: (open({str(log)!r}, 'w').close(), sys.exit())); "
    child += "die_with_parent(); print('ready', flush=True); time.sleep(60)"
    parent = "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', sys.argv[1]], "
    parent += "stdout=subprocess.PIPE, stderr=subprocess.DEVNULL); child.stdout.readline(); print(child.pid)"
    pid = int(on("darwin", "-c", parent, child).stdout)
    for _ in range(200):
        if log.exists():
            return
        signal.sigtimedwait([], 0.05)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the child waits on")
