"""A finished run's damaged files are refused by name, and hide no other run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import damages
from finesweep.commands import listing
from finesweep.runs.layout import RunFolder
from finesweep.runs.saved import SavedRun
from finesweep.runs.sealing import FILES, check_seal, seal
from finesweep.system.records import DamagedFile


def test_a_run_is_used_only_while_what_it_consists_of_is_as_it_was(finished):
    folder = finished().folder
    names = ["config.yaml", "labels.json", "tokenizer/tokenizer.json", "adapter/adapter_model.safetensors"]
    for name in [*names, "backbone/config.json"]:
        content = (folder / name).read_bytes()
        for damage in damages.DAMAGES:
            if (name, damage) == ("config.yaml", "one bit"):  # of a path, say, which is free to change
                continue
            damages.do(damage, folder / name)
            # without config.yaml it is no run's folder at all
            with pytest.raises(ValueError, match="config.yaml" if name == "config.yaml" else name):
                SavedRun.open(folder)
            damages.put(folder / name, content)
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace("\nseed: 0", "\nseed: 1"))
    with pytest.raises(ValueError, match=r"config\.yaml"):
        SavedRun.open(folder)
    (folder / "config.yaml").write_text(config)
    (folder / "notes.txt").write_text("mine")
    SavedRun.open(folder)
    (folder / FILES).unlink()
    (folder / "tokenizer" / "tokenizer.json").write_bytes(content)
    SavedRun.open(folder)  # an older run


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30).map(lambda text: text.replace("$", ""))
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)


@settings(max_examples=25)
@given(st.dictionaries(texts, values, max_size=4))
def test_a_config_is_sealed_as_what_is_read_of_its_file(tmp_path_factory, config):
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    folder.write_config({**config, "output_dir": "anywhere"}, [])
    seal(folder)
    check_seal(folder, ("config.yaml",))
    again = RunFolder(folder.path)
    seal(again)  # reads the file
    assert (folder.path / FILES).read_text() == (again.path / FILES).read_text()


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"state": "completm"}', '{"state": 3}'])
def test_a_damaged_folder_hides_no_other(tmp_path, content):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text("seed: 0\n")
        (tmp_path / name / "status.json").write_text(json.dumps({"state": "interrupted"}))
    (tmp_path / "one" / "status.json").write_text(content)
    found = {Path(entry.folder).name: entry for entry in listing.entries(tmp_path)}
    assert (found["one"].state, found["two"].state) == ("damaged", "interrupted")
    assert "status.json" in found["one"].fault


@pytest.mark.parametrize("content", ["", "{", "[]", '{"objective": 3}', '{"objective": {"metric": "f1"}}'])
def test_a_damaged_result_is_named(tmp_path, content):
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    (tmp_path / "status.json").write_text(json.dumps({"state": "complete"}))
    (tmp_path / "result.json").write_text(content)
    (entry,) = listing.entries(tmp_path)
    assert entry.state == "damaged"
    assert "result.json" in entry.fault


def test_a_damaged_table_is_named(tmp_path):
    from finesweep.system.records import read_table

    (tmp_path / "test.parquet").write_bytes(b"PAR1 garbage PAR1")
    with pytest.raises(DamagedFile, match=r"test\.parquet"):
        read_table(tmp_path / "test.parquet")
