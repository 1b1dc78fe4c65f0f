"""What may become of a file that nobody looks after."""

from __future__ import annotations

from pathlib import Path


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :] if content else b"\x04"


DAMAGES = {
    "missing": None,
    "empty": lambda content: b"",
    "cut in half": lambda content: content[: len(content) // 2],
    "one bit": _flipped,
    "garbage": lambda content: b"\x00\xff\xfe garbage \x80" * 9,
    "other JSON": lambda content: b'{"state": "completm", "names": 3, "files": []}',
    "a list": lambda content: b"[1, 2]",
}


def put(file: Path, content: bytes) -> None:
    """Write a file's content anew; in place a process that has mapped the old one would die."""
    beside = file.with_name(f"{file.name}.new")
    beside.write_bytes(content)
    beside.replace(file)


def do(damage: str, file: Path) -> None:
    """Damage a file in one of the ways of DAMAGES."""
    if change := DAMAGES[damage]:
        put(file, change(file.read_bytes()))
    else:
        file.unlink()
