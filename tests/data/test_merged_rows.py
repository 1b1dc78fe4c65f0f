"""A quote that opens and never closes merges rows of a file: that is noticed, and right values stay."""

import pytest

from finesweep.commands.predict import inputs
from finesweep.data import load_text_data, sources
from finesweep.errors import DataError

READERS = {
    "\t": sources.tsv,
    ",": sources.csv,
    ";": lambda path, **more: sources.csv(path, delimiter=";", **more),
}


def file_of(rows, path, delimiter) -> str:
    path.write_text("\n".join(delimiter.join(row) for row in [("text", "label"), *rows]) + "\n")
    return str(path)


def stray(i: int) -> str:
    """Return a text; of every ten, one begins with a quote and one has a quote at its end."""
    return f'"well said {i}' if i % 10 == 3 else f'said {i}"' if i % 10 == 6 else f"text {i}"


@pytest.mark.parametrize("delimiter", READERS)
@pytest.mark.parametrize("label_first", [False, True])
def test_merged_rows_are_refused_and_read_whole_without_quotes(delimiter, label_first, tmp_path):
    rows = [(stray(i), "ab"[i % 2]) for i in range(40)]
    path = file_of([row[::-1] for row in rows] if label_first else rows, tmp_path / "rows.txt", delimiter)
    if label_first:
        path_text = (tmp_path / "rows.txt").read_text()
        (tmp_path / "rows.txt").write_text(
            path_text.replace("text" + delimiter + "label", "label" + delimiter + "text", 1)
        )
    with pytest.raises(DataError, match=r"A quote seems to have merged rows[\s\S]*data\.source\.quote=null"):
        READERS[delimiter](path)
    read = READERS[delimiter](path, quote=None)["train"]
    assert list(zip(read["text"][:], read["label"][:], strict=True)) == rows
    assert len(READERS[delimiter](path, multiline=True)["train"]) == 28


@pytest.mark.parametrize(
    "text", ["Dear all,\nbest, me", "one\ntwo", "x,y\nz,w", 'she said ""no""\nand, well, left']
)
def test_texts_of_several_lines_stay(text, tmp_path):
    rows = [(f'"{text} {i}"', "ab"[i % 2]) for i in range(20)]
    data = load_text_data(sources.csv(file_of(rows, tmp_path / "rows.csv", ",")))
    assert sum(map(len, data.splits.values())) == 20
    assert not [warning for warning in data.warnings if "quote" in warning]


def test_merged_rows_of_any_reader_are_a_warning():
    rows = [{"text": f"text {i}", "label": "ab"[i % 2]} for i in range(30)]
    rows[7]["text"] = "so he said\tb\nand then\ta\nshe left"
    warnings = load_text_data(rows).warnings
    assert any("1 of" in warning and "did a stray quote merge them?" in warning for warning in warnings)


def test_predict_marks_merged_rows(tmp_path):
    path = tmp_path / "rows.tsv"
    file_of([(stray(i), "ab"[i % 2]) for i in range(40)], path, "\t")
    chunk = next(inputs.file(path).chunks)
    assert list(chunk.problems.values()) == ["several rows in one value (a stray quote?)"] * 4
    assert not next(inputs.file(path, quote=None).chunks).problems
    assert not next(inputs.file(path, multiline=True).chunks).problems


@pytest.mark.parametrize("ending", ["xz", "gz", "bz2"])
def test_a_compressed_file_that_trains_can_be_predicted(ending, tmp_path):
    import importlib

    module = importlib.import_module({"xz": "lzma", "gz": "gzip", "bz2": "bz2"}[ending])
    path = tmp_path / f"rows.csv.{ending}"
    with module.open(path, "wt") as file:
        file.write("text,label\nhello,a\n")
    assert next(inputs.file(path).chunks).rows == [{"text": "hello", "label": "a"}]
