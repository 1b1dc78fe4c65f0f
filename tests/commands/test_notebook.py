"""What a notebook hands to finesweep: dicts, frames, and mistakes that it shows."""

import signal
import subprocess
import sys

import datasets
import pandas as pd
import polars as pl
import pytest

import finesweep
from finesweep.commands.notebook import with_data, words_of
from finesweep.errors import ConfigError, Fault, FinesweepError, Interrupted
from finesweep.system.override_words import read_word

ROWS = [{"text": f"the {word} thing {i}", "label": word} for i in range(30) for word in ("red", "green")]


@pytest.mark.parametrize(
    "value",
    [4, 0.1, 1e-7, True, None, "lora", "2024", "true", "a b, c", "it's", "", ["x", 1, None], {"a": [1, "2"]}],
)
def test_a_dict_s_values_arrive_as_they_are(value):
    (word,) = words_of({"key": value})
    assert read_word(word).value() == value


def test_dicts_stand_beside_words_and_an_axis_stays_one():
    assert words_of(["peft=lora", {"peft.r": 4, "seed": 1}]) == ["peft=lora", "peft.r=4", "seed=1"]
    assert words_of({"model.name": "${x}"}) == ["model.name=${x}"]


def test_a_lone_text_is_refused_in_words():
    for call in (finesweep.run, finesweep.sweep):
        with pytest.raises(ConfigError, match="Put it into brackets"):
            call("experiment=quick")


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame, datasets.Dataset.from_list, list])
def test_rows_of_every_kind_are_written_once_and_read_again(kind, tmp_path):
    words = with_data([f"output_dir={tmp_path}/out", "seed=1"], kind(ROWS))
    assert with_data([f"output_dir={tmp_path}/out", "seed=1"], kind(ROWS)) == words
    assert words[0] == "data=parquet"
    (folder,) = (tmp_path / "out" / "data").iterdir()
    assert pl.read_parquet(folder / "train.parquet").to_dicts() == ROWS
    assert read_word(words[1]).value() == str(folder / "train.parquet")


def test_rows_and_a_data_set_s_name_are_refused_together(tmp_path):
    with pytest.raises(ConfigError, match="name a data set too"):
        with_data(["data=csv"], ROWS)


def test_a_frame_is_trained_on_and_the_result_has_a_face(tmp_path, tiny_overrides):
    words = [word for word in tiny_overrides if not word.startswith("data")]
    result = finesweep.run([*words, {"peft.r": 4, "test": False}], data=pd.DataFrame(ROWS))
    assert result.config["peft"]["r"] == 4
    assert "validation/accuracy" in result._repr_html_()
    assert str(result.folder) in result._repr_html_()


def test_the_module_lists_what_it_has():
    assert set(finesweep.__all__) < set(dir(finesweep))


@pytest.mark.parametrize("call", [finesweep.run, finesweep.sweep])
def test_a_place_that_can_t_be_written_is_a_message_too(call, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FinesweepError, match=r"file\n  It can't be read or written: Not a directory\."):
        call([f"output_dir={tmp_path / 'file' / 'out'}"], data=ROWS)


def test_a_run_is_reached_without_what_only_sweeps_need():
    code = (
        "import sys, finesweep; finesweep.run; assert not {'optuna', 'tqdm.auto', 'torch'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_notebook_shows_an_interruption_without_frames():
    assert Interrupted(signal.SIGINT)._render_traceback_() == ["finesweep: stopped by SIGINT"]


def test_a_notebook_shows_a_mistake_without_frames():
    shown = ConfigError(Fault("peft.r", "It must be more.", 0))._render_traceback_()
    assert shown == ["finesweep: peft.r = 0\n  It must be more."]
