"""Finding code of one's own beside the command."""

import sys

import pytest

from finesweep.system.signatures import find_beside, locate


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return the name of a module in a folder that is nowhere on the path, beside a mere folder that is."""
    name = "a_module_of_ones_own"
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / f"{name}.py").write_text("def build(): return 7\n")
    (tmp_path / "elsewhere" / name / "experiment").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "elsewhere")])
    yield name
    sys.modules.pop(name, None)


def test_a_module_goes_before_a_mere_folder_of_its_name_elsewhere(module, tmp_path):
    find_beside([f"{module}.build"], tmp_path / "work")
    assert locate(f"{module}.build")() == 7


def test_what_is_installed_is_not_hidden(tmp_path):
    (tmp_path / "json.py").write_text("def dumps(): return 7\n")
    before = list(sys.path)
    find_beside(["json.dumps"], tmp_path)
    assert sys.path == before
