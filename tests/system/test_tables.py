"""Tables of text, as the commands print them."""

from finesweep.system.tables import aligned


def test_columns_begin_where_the_widest_cell_ends():
    rows = [("label", "rows"), ("tech", "1,000"), ("[bold]x[/]", "7")]
    assert aligned(rows) == ["label       rows", "tech        1,000", "[bold]x[/]  7"]
    assert aligned(rows, right=[1]) == ["label        rows", "tech        1,000", "[bold]x[/]      7"]
    assert aligned(rows, right=[1], gap=1)[1] == "tech       1,000"


def test_nothing_is_wrapped_or_cut_however_narrow_the_screen(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    long = "a word and " * 100 + "an end"
    assert aligned([(long, long), ("", "x")]) == [f"{long}  {long}", " " * (len(long) + 2) + "x"]


def test_wide_characters_count_for_two():
    assert aligned([("新聞", "1"), ("news", "2")]) == ["新聞  1", "news  2"]
    assert aligned([("新聞" * 40, "1")]) == ["新聞" * 40 + "  1"]


def test_a_cell_stays_on_its_line_and_steers_no_terminal():
    assert aligned([("a\nb\tc", "\x1b[31m\r"), ("", "")]) == ["a\\nb\\tc  \\x1b[31m\\r", ""]


def test_a_table_without_rows_has_no_lines():
    assert aligned([]) == []
