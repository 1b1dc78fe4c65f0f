"""Signals: a training loop may finish its step; none is lost."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from finesweep.errors import Interrupted
from finesweep.system.signals import interruptible, interruption_kept, stop_at_next_step, stop_requested


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_interrupts_at_once_outside_a_training_loop(number):
    with pytest.raises(Interrupted) as interruption, interruptible():
        os.kill(os.getpid(), number)
    assert interruption.value.signal_number == number


def test_a_training_loop_is_asked_first_and_interrupted_by_the_second_signal():
    requests = []

    def train():
        with interruptible(), stop_at_next_step():
            for _ in range(3):
                requests.append(stop_requested())
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        train()
    assert requests == [None, signal.SIGTERM]
    assert stop_requested() is None


def test_a_signal_after_the_loop_s_last_look_is_not_lost():
    after = []

    def train():
        with interruptible():
            with stop_at_next_step():
                os.kill(os.getpid(), signal.SIGTERM)
            after.append("training")

    with pytest.raises(Interrupted):
        train()
    assert not after
    assert stop_requested() is None


def test_an_interruption_that_a_library_replaces_with_its_own_error_is_not_lost():
    def library_call():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            raise AttributeError("half done")

    with pytest.raises(Interrupted), interruptible(), interruption_kept(), suppress(AttributeError):
        library_call()
    with interruption_kept():  # the next block starts afresh
        pass


def test_a_command_ends_without_searching_all_modules_for_cycles(tmp_path):
    code = "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count())); "
    code += f"from finesweep.commands.cli import app; app(['ls', {str(tmp_path)!r}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[-1]) > 10_000


TRAINS = """
import sys, time
from finesweep.errors import Interrupted
from finesweep.system.processes import die_with_parent
from finesweep.system.signals import interruptible, stop_at_next_step, stop_requested

die_with_parent()
try:
    with interruptible(), stop_at_next_step():
        print("trains", flush=True)
        while not stop_requested():
            time.sleep(0.01)
        time.sleep(1)  # the checkpoint
        with open(sys.argv[1], "w") as file:
            file.write("saved")
except Interrupted:
    with open(sys.argv[1], "a") as file:
        file.write(" and given back")
"""
# The system tells a child of a parent's death once for each of the parent's threads that was its parent.
STARTS_IT = """
import subprocess, sys, threading, time

for _ in range(20):
    threading.Thread(target=time.sleep, args=(60,)).start()
command = [sys.executable, "-c", *sys.argv[1:]]
child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
child.stdout.readline()
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system sends no such signal")
def test_a_killed_parent_s_threads_don_t_keep_a_child_from_saving(tmp_path):
    saved = tmp_path / "saved"
    command = [sys.executable, "-c", STARTS_IT, TRAINS, str(saved)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        assert parent.stdout.readline()
        parent.kill()
    deadline = time.monotonic() + 30
    while not saved.exists() or not saved.read_text().endswith("given back"):
        assert time.monotonic() < deadline, saved.read_text() if saved.exists() else "it saved nothing"
        time.sleep(0.05)
    assert saved.read_text() == "saved and given back"
