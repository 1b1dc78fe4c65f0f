"""The wheel, outside a clone: its own configs and search spaces, the same command line."""

import os
import subprocess
import sys
import zipfile

import pytest

from commands import REPOSITORY


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        ".",
    ]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = folder.glob("finesweep-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_every_config_and_search_space(unpacked):
    for group in ("conf", "sweeps"):
        files = {file.relative_to(REPOSITORY / group) for file in (REPOSITORY / group).rglob("*.yaml")}
        shipped = unpacked / "finesweep" / ("conf" if group == "conf" else "conf/sweeps")
        assert files <= {file.relative_to(shipped) for file in shipped.rglob("*.yaml")}
    assert (unpacked / "hydra_plugins/finesweep_sweeper/__init__.py").is_file()


@pytest.mark.parametrize("words", [("--cfg", "job"), ("--help",), ("--cfg", "hydra", "sweeps=lora-deep")])
@pytest.mark.often("words0")
def test_finesweep_train_outside_a_clone_is_train_py_in_it(unpacked, call, tmp_path, words):
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    code = "import sys; from finesweep.commands import cli; print(cli.__file__, file=sys.stderr); cli.app()"
    command = [sys.executable, "-c", code, "train", *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert str(unpacked) in done.stderr
    assert done.returncode == 0, done.stderr
    in_clone = call("train.py", *words).stdout
    mine = [line for line in done.stdout.splitlines() if "path:" not in line and "name:" not in line]
    theirs = [line for line in in_clone.splitlines() if "path:" not in line and "name:" not in line]
    assert mine == theirs
