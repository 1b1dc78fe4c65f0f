"""Which saved files this user's own finesweep wrote: those that end with a mark that only their key makes.

The mark is an HMAC (RFC 2104) of a file's text. It says that whoever holds the key typed every word of the
file or vouched for it, and nothing of what lies beside it: a folder that was given away may have come back.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Collection
from pathlib import Path

from finesweep.config.trust import OWN, is_own_work
from finesweep.system.sweep_folder import SweepFolder

BYTES = 32
MARK = "# Written by this user, says the key in their home: "


def marked(text: str) -> str:
    """Add the mark to the text of a file, unless something in it is a stranger's.

    Where no key can be kept, the text stays as it is, and is judged like a stranger's from then on.
    """
    key = _key(create=True) if is_own_work() else None
    return text if key is None else f"{text}{MARK}{_digest(key, text)}\n"


def is_own(file: Path) -> bool:
    """Whether a file is word for word as this user's finesweep wrote it."""
    key = _key()
    try:
        text, mark, digest = file.read_text(encoding="utf-8").rpartition(MARK)
    except (OSError, UnicodeDecodeError):
        return False
    return bool(key and mark) and hmac.compare_digest(_digest(key or b"", text), digest.strip())


def is_own_config(file: Path) -> bool:
    """Whether a file is the user's own, and all that Hydra finds there: it looks for choices beside it."""
    sweep = SweepFolder(file.parent)
    apart = (sweep.trials, sweep.repeats, sweep.confirm.path)  # they hold whole configs and no choices
    beside = (place for place in file.parent.iterdir() if place.is_dir() and place not in apart)
    return is_own(file) and not any(found for place in beside for found in place.rglob("*.yaml"))


def with_own(trusted: Collection[str], *files: Path) -> frozenset[str]:
    """Return what the user vouches for, with what their own files may do where all of these are their own."""
    return frozenset(trusted) | ({OWN} if all(map(is_own, files)) else set())


def has_key() -> bool:
    """Whether files that are written here get a mark."""
    return _key() is not None


def key_file() -> Path:
    """Name the file with the user's key: in XDG_STATE_HOME, or ~/.local/state."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "finesweep" / "key"


def _digest(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _key(*, create: bool = False) -> bytes | None:
    """Return the key; None where there is none, or none can be made."""
    with contextlib.suppress(OSError, RuntimeError):  # RuntimeError: nobody knows where the home is
        file = key_file()
        if create and not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _make(file)
        found = file.read_bytes()
        return found if len(found) == BYTES else None
    return None


def _make(file: Path) -> None:
    """Make the key, whole; if two processes do, one wins."""
    staging = file.with_name(f".{file.name}-{secrets.token_hex(4)}")
    with open(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:
        new.write(secrets.token_bytes(BYTES))
    with contextlib.suppress(FileExistsError):
        os.link(staging, file)
    staging.unlink()
