"""From a run's folder to one that others load: on this machine, or on the Hub."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from finesweep.commands.export import Form, hub, onnx
from finesweep.commands.export.card import card
from finesweep.commands.export.origin import Base
from finesweep.commands.export.weights import check_form, write_adapter, write_merged, write_tokenizer
from finesweep.errors import Fault, FinesweepError
from finesweep.runs.saved import SavedRun
from finesweep.runs.sealing import DESCRIBED, check_seal
from finesweep.system import console
from finesweep.system.files import disk_full_error, write_folder, write_text
from finesweep.system.signals import interruptible
from finesweep.system.tables import aligned

CARD = "README.md"
OWN_TAG = "\n- finesweep\n"  # a tag in the front matter of a card


def export(path: Path, target: Path, form: Form, *, overwrite: bool = False) -> str:
    """Write a run's model, tokenizer and card into a folder; return what it is, in words.

    Args:
        path: a run's folder, or a sweep's.
        target: the folder to make; it appears when all is written.
        form: of the weights.
        overwrite: replace the folder, where it is an earlier export.

    Raises:
        FinesweepError: no complete run, a form that it doesn't have, or a folder that is in the way or can't
            be written.
    """
    run = _opened(path, form)
    target = target.expanduser().resolve()
    _check_place(target, overwrite=overwrite)
    return _write(run, target, form, target.name)


def push(path: Path, repo: str, form: Form, *, private: bool = False, dry_run: bool = False) -> str:
    """Export a run and send it to the Hub; return its address, or what would have been sent.

    Args:
        path: a run's folder, or a sweep's.
        repo: USER/NAME.
        form: of the weights.
        private: whether a new repository is.
        dry_run: send nothing.

    Raises:
        FinesweepError: an adapter of a model that nobody else has; no token, no network, or a refusal by the
            Hub.
    """
    hub.check_name(repo)
    run = _opened(path, form)
    base = Base.of(run)
    if form is Form.adapter and base.kind == "folder":
        rule = "The adapter stands on a folder of this machine, which nobody else has."
        raise FinesweepError(Fault("--to adapter", rule, base.name, fix="--to merged sends the whole model."))
    if not dry_run:
        hub.check_access()
    with tempfile.TemporaryDirectory(prefix="finesweep-") as place:
        folder = Path(place, "model")
        _write(run, folder, form, repo)
        if not dry_run:
            return hub.send(folder, repo, private=private)
        files = sorted(folder.iterdir())
        rows = [(console.size_text(file.stat().st_size), file.name) for file in files]
    visible = "private" if private else "public"
    return "\n".join(
        [f"Nothing was sent. To {repo}, {visible} if it is new, would go:", *aligned(rows, right=[0])]
    )


def _opened(path: Path, form: Form) -> SavedRun:
    """Open a run, and make sure that it can be had in this form before anything heavy is loaded."""
    run = SavedRun.open(path)
    check_seal(run.folder, DESCRIBED)
    check_form(run, form)
    if form is Form.onnx:
        onnx.check_packages()
    return run


def _check_place(target: Path, *, overwrite: bool) -> None:
    """Refuse a place that can't be written; replace nothing but an earlier export."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        taken = target.exists() and (not target.is_dir() or any(target.iterdir()))
    except OSError as error:
        raise FinesweepError(Fault("OUT", f"It can't be made: {error.strerror}.", target)) from error
    if not os.access(target.parent, os.W_OK):
        raise FinesweepError(Fault("OUT", f"{target.parent} may not be written.", target))
    if taken and not _is_export(target):
        rule, fix = "Something else is there, which is never replaced.", "Choose another folder."
        raise FinesweepError(Fault("OUT", rule, target, fix=fix))
    if taken and not overwrite:
        raise FinesweepError(Fault("OUT", "It is there already.", target, fix="--overwrite replaces it."))


def _is_export(folder: Path) -> bool:
    """Whether a folder has a card of ours, and no folder within."""
    written = (folder / CARD).is_file() and OWN_TAG in (folder / CARD).read_text(
        encoding="utf-8", errors="replace"
    )
    return written and all(file.is_file() for file in folder.iterdir())


def _write(run: SavedRun, target: Path, form: Form, name: str) -> str:
    """Write the folder whole or not at all; return what it is, in words."""
    verified: list[str] = []

    def fill(folder: Path) -> None:
        console.quiet_libraries()
        if form is Form.onnx:
            gap = onnx.write_onnx(run, folder)
            verified.append(f"; its logits differ from the model's by {gap:.1g} at most")
        else:
            (write_merged if form is Form.merged else write_adapter)(run, folder)
        write_tokenizer(run, folder)
        write_text(folder / CARD, card(run, form.value, name))

    try:
        with interruptible(), console.working(f"Writing the {form.value} model"):
            write_folder(target, fill)
    except Exception as error:  # torch and safetensors have words of their own for it
        if disk_full_error(error, target.parent) is None:
            raise
        rule, fix = "The disk is full; nothing was kept.", "Free some space, or choose another disk."
        raise FinesweepError(Fault(str(target.parent), rule, fix=fix)) from error
    size = console.size_text(sum(file.stat().st_size for file in target.iterdir()))
    return f"{form.value}, {size}{''.join(verified)}"
