"""What a person sees while waiting."""

import io

from rich.console import Console

from finesweep import console


def shown(monkeypatch, *, terminal: bool, patience: float) -> str:
    stream = io.StringIO()
    screen = Console(file=stream, force_terminal=terminal, width=80)
    monkeypatch.setattr(console, "make_console", lambda **_: screen)
    monkeypatch.setattr(console, "PATIENCE_S", patience)
    with console.counting("tokenising", 10) as advance:
        advance(4)
        advance(6)
    return stream.getvalue()


def test_a_long_wait_gets_a_bar(monkeypatch):
    assert "10/10" in shown(monkeypatch, terminal=True, patience=0)


def test_a_short_wait_gets_none(monkeypatch):
    assert "tokenising" not in shown(monkeypatch, terminal=True, patience=60)


def test_a_log_file_gets_none(monkeypatch):
    assert "tokenising" not in shown(monkeypatch, terminal=False, patience=0)
