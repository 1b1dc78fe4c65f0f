"""From a run's folder to one that others load, on this machine or on the Hub."""

from __future__ import annotations

import tempfile
from pathlib import Path

from finesweep import console
from finesweep.errors import Fault, FinesweepError
from finesweep.export import Form, onnx
from finesweep.export.card import card
from finesweep.export.weights import write_adapter, write_merged, write_tokenizer
from finesweep.rundir import write_folder, write_text
from finesweep.saved import SavedRun


def export(path: Path, target: Path, form: Form, *, overwrite: bool = False, name: str = "") -> str:
    """Write a run's model, tokenizer and card into a folder, and say what was verified.

    Args:
        path: a run's folder, or a sweep's.
        target: the folder to make; it appears when all is written.
        form: of the weights.
        overwrite: replace the folder if it is there.
        name: of the model in its card; the target's when left out.

    Raises:
        FinesweepError: no complete run, a folder in the way, or a form that this run doesn't have.
    """
    run = SavedRun.open(path)
    if form is Form.onnx:
        onnx.check_packages()
    if target.exists() and not overwrite and (not target.is_dir() or any(target.iterdir())):
        raise FinesweepError(Fault("OUT", "It is there already.", target, fix="--overwrite replaces it."))
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    console.quiet_libraries()
    said: list[str] = []

    def fill(folder: Path) -> None:
        if form is Form.onnx:
            gap = onnx.write_onnx(run, folder)
            said.append(f"its logits differ from the model's by {gap:.1g} at most")
        else:
            (write_merged if form is Form.merged else write_adapter)(run, folder)
        write_tokenizer(run, folder)
        write_text(folder / "README.md", card(run, form.value, name or target.name))

    write_folder(target, fill)
    return "; ".join(said)


def push(path: Path, repo: str, form: Form, *, private: bool = False, dry_run: bool = False) -> str:
    """Export a run and send it to the Hub; return its address, or what would have been sent.

    Args:
        path: a run's folder, or a sweep's.
        repo: USER/NAME.
        form: of the weights.
        private: whether a new repository is.
        dry_run: send nothing.

    Raises:
        FinesweepError: no token, no network, or a refusal by the Hub.
    """
    if repo.count("/") != 1 or not all(repo.split("/")):
        raise FinesweepError(Fault("REPO", "It is USER/NAME.", repo))
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "model")
        export(path, folder, form, name=repo)
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        if dry_run:
            lines = [
                f"{console.size_text(file.stat().st_size):>10}  {file.relative_to(folder)}" for file in files
            ]
            return "\n".join([f"To {repo}, {'private' if private else 'public'}; nothing was sent:", *lines])
        return _send(folder, repo, private=private)


def _send(folder: Path, repo: str, *, private: bool) -> str:
    import httpx
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if not get_token():
        raise FinesweepError(
            Fault("push", "There is no token for the Hub.", fix="hf auth login, or set HF_TOKEN.")
        )
    try:
        api = HfApi()
        api.create_repo(repo, private=private, exist_ok=True)
        return str(api.upload_folder(folder_path=folder, repo_id=repo, commit_message="Model from finesweep"))
    except OfflineModeIsEnabled as error:
        raise FinesweepError(Fault("push", "HF_HUB_OFFLINE is set.", fix="Unset it.")) from error
    except HfHubHTTPError as error:
        raise FinesweepError(Fault("push", f"The Hub refused: {str(error).splitlines()[0]}", repo)) from error
    except (httpx.TransportError, OSError) as error:
        rule = f"The Hub can't be reached: {error}"
        raise FinesweepError(Fault("push", rule, fix="--dry-run shows what would be sent.")) from error
