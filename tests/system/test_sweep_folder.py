"""The sweep folder: one file has its names, and everyone else asks it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from finesweep.errors import FinesweepError
from finesweep.runs.leaderboard import best_row, best_trial
from finesweep.system.records import DamagedFile
from finesweep.system.sweep_folder import SweepFolder

SOURCE = Path(__file__).parents[2] / "src"
OWN = "finesweep/system/sweep_folder.py"
# Words that are a name in a sweep's folder too, and mean something else where they stand.
MEANT_OTHERWISE = {
    ("finesweep/config/short_keys.py", "trials"),
    ("finesweep/config/short_keys.py", "workers"),
    ("finesweep/runs/layout.py", "status.json"),  # a run's
    ("finesweep/sweeps/plan.py", "confirm"),  # what a sweep is for
    ("finesweep/sweeps/space.py", "choices"),  # of an axis
    ("finesweep/sweeps/display.py", "choices"),
    ("finesweep/system/signatures.py", "choices"),  # of a value, as an annotation says
    ("finesweep/sweeps/summary.py", "trials"),  # the heading of a line
    ("finesweep/commands/report/markdown.py", "trials"),  # the heading of a column
    ("finesweep/commands/predict/columns.py", "trials"),  # of another
    ("finesweep/commands/report/command.py", "pictures"),  # a key of what is printed as JSON
}


def names() -> set[str]:
    """Return what SweepFolder calls the parts of a folder."""
    folder = SweepFolder(Path())
    parts = [part for part in vars(folder).values() if part != folder.path]
    return {part.name for part in (*parts, folder.confirm.path)}


def texts(tree: ast.AST) -> Iterator[str]:
    """Yield every string of a module, those in f-strings too, that isn't prose: docstrings, messages.

    What has a space in it is read by people. A path has none.
    """
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
    for node in constants:
        text = node.value
        if isinstance(text, str) and id(node) not in docstrings and not any(map(str.isspace, text)):
            yield text


def test_no_name_of_a_sweep_folder_is_written_anywhere_else():
    known = names()
    found = {
        (file.relative_to(SOURCE).as_posix(), text)
        for file in SOURCE.rglob("*.py")
        for text in texts(ast.parse(file.read_text()))
        if known.intersection(text.split("/"))
    }
    elsewhere = {(file, text) for file, text in found if file != OWN}
    assert elsewhere == MEANT_OTHERWISE
    assert {text for file, text in found if file == OWN} == known


@pytest.mark.parametrize(
    ("code", "written"),
    [
        ("x = path / 'sweep.yaml'", ["sweep.yaml"]),
        ("x = f'trials/{number}'", ["trials/"]),
        ("x = f'sqlite:///{folder / \"study.db\"}'", ["sqlite:///", "study.db"]),
        ("'''trials/'''\nx = 'The sweep.yaml is gone.'", []),
        ("def f():\n    '''trials'''\n    return 'trials'", ["trials"]),
    ],
)
def test_prose_is_told_from_paths(code: str, written: list[str]):
    assert list(texts(ast.parse(code))) == written


def test_a_confirmation_is_a_sweep_folder_inside_the_one_it_confirms(tmp_path: Path):
    folder = SweepFolder(tmp_path)
    assert folder.confirm.manifest == tmp_path / "confirm" / "sweep.yaml"
    assert SweepFolder.around(folder.trial(3)).path == tmp_path
    assert not folder.is_there
    folder.leaderboard.write_text("number,state\n")
    assert folder.is_there


@pytest.mark.parametrize("first", ["4,complete", "4,pruned", ""])
def test_the_best_trial_is_the_leaderboards_first_if_it_is_complete(tmp_path: Path, first: str):
    folder = SweepFolder(tmp_path)
    folder.leaderboard.write_text(f"number,state\n{first}\n5,complete\n" if first else "number,state\n")
    if first == "4,complete":
        assert best_trial(tmp_path) == folder.trial(4)
        return
    assert best_row(folder) is None
    with pytest.raises(FinesweepError, match="no complete trial yet"):
        best_trial(tmp_path)


def test_a_folder_without_a_leaderboard_is_no_sweep_with_a_best_trial(tmp_path: Path):
    assert best_trial(tmp_path) == tmp_path
    with pytest.raises(DamagedFile, match=r"finesweep resume .* writes it again"):
        best_row(SweepFolder(tmp_path))


def test_a_trials_number_leads_nowhere_else(tmp_path: Path):
    SweepFolder(tmp_path).leaderboard.write_text("number,state\n../../elsewhere,complete\n")
    with pytest.raises(DamagedFile, match="elsewhere"):
        best_trial(tmp_path)
