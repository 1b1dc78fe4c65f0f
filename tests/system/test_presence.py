"""Who is at work in a folder: seen from the same host, from another, and after a kill."""

import os
import subprocess
import time
from dataclasses import asdict, replace

from finesweep.runs.layout import RunFolder
from finesweep.system.files import write_json, write_status
from finesweep.system.presence import STALE_S, Present, others, present


def put(place, one: Present, age_s: float = 0.0):
    place.mkdir(exist_ok=True)
    file = place / f"{one.host}-{one.pid}.json"
    write_json(file, asdict(one))
    then = time.time() - age_s
    os.utime(file, (then, then))


def test_a_process_is_there_within_its_block_and_for_others_alone(tmp_path):
    with present(tmp_path / "present") as own:
        assert others(tmp_path / "present", own) == []
        assert [one.pid for one in others(tmp_path / "present")] == [os.getpid()]
    assert others(tmp_path / "present") == []


def test_a_killed_process_of_this_host_is_gone_at_once_and_one_of_another_after_a_while(tmp_path):
    process = subprocess.Popen(["true"])
    process.wait()
    here = Present.here()
    elsewhere = replace(here, host="node-7", host_id="node-7", space="node-7")
    put(tmp_path, replace(here, pid=process.pid))
    assert others(tmp_path) == []
    put(tmp_path, elsewhere, age_s=STALE_S / 2)
    assert others(tmp_path) == [elsewhere]
    put(tmp_path, elsewhere, age_s=2 * STALE_S)
    assert others(tmp_path) == []


def test_whoever_comes_clears_away_what_killed_processes_of_this_host_have_left(tmp_path):
    process = subprocess.Popen(["true"])
    process.wait()
    here = Present.here()
    put(tmp_path, replace(here, pid=process.pid))
    put(tmp_path, replace(here, host="node-7", space="node-7"), age_s=2 * STALE_S)
    with present(tmp_path) as own:
        assert {file.name for file in tmp_path.iterdir()} == {own.name, f"node-7-{here.pid}.json"}


def test_a_dead_process_that_nobody_has_reaped_is_gone(tmp_path):
    process = subprocess.Popen(["sleep", "60"])
    put(tmp_path, replace(Present.here(), pid=process.pid))
    assert [one.pid for one in others(tmp_path)] == [process.pid]
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert others(tmp_path) == []
    process.wait()


def test_of_two_containers_of_one_name_neither_judges_the_other_s_numbers(tmp_path):
    process = subprocess.Popen(["true"])
    process.wait()
    here = Present.here()
    put(tmp_path, replace(here, pid=process.pid, space=f"{here.host_id} pid:[1]"))
    assert [one.pid for one in others(tmp_path)] == [process.pid]


def test_what_is_no_such_file_is_nobody(tmp_path):
    (tmp_path / "a.json").write_text('{"host": 3}')
    (tmp_path / "b.json").write_text("no JSON")
    put(tmp_path, replace(Present.here(), time="yesterday"))
    assert others(tmp_path) == []


def test_a_sweep_runs_while_anyone_works_on_it_and_was_killed_when_nobody_does(tmp_path):
    folder, elsewhere = RunFolder(tmp_path), replace(Present.here(), space="node-7")
    for said, alone in (("running", "killed"), ("interrupted", "interrupted"), ("open", "open")):
        write_status(folder.status, {"state": said, "of_several": True, "pid": os.getpid()})
        put(tmp_path / "present", elsewhere)
        assert folder.state() == "running"
        put(tmp_path / "present", elsewhere, age_s=2 * STALE_S)
        assert folder.state() == alone
    write_status(folder.status, {"state": "complete"})
    put(tmp_path / "present", elsewhere)
    assert folder.state() == "complete"
