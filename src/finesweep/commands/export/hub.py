"""Sending a folder to the Hub, and what may stand against it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.errors import Fault, FinesweepError

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

# What an earlier push in another form left: a repository with an adapter and a whole model is loaded wrongly.
WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "*.onnx", "*.onnx.data", "adapter_config.json")


def check_name(repo: str) -> None:
    """Make sure that a repository can be called so.

    Raises:
        FinesweepError: it can't.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if repo.count("/") != 1:
        raise FinesweepError(Fault("REPO", "It is USER/NAME.", repo))
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise FinesweepError(Fault("REPO", f"The Hub takes no such name: {error}", repo)) from error


def check_access() -> None:
    """Make sure that there is a token, before minutes are spent on what can't be sent.

    Raises:
        FinesweepError: there is none, or the network is switched off.
    """
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise FinesweepError(Fault("push", "HF_HUB_OFFLINE switches the network off.", fix="Unset it."))
    if not get_token():
        fix = "Run hf auth login, or set HF_TOKEN; --dry-run needs none."
        raise FinesweepError(Fault("push", "There is no token for the Hub.", fix=fix))


def send(folder: Path, repo: str, *, private: bool) -> str:
    """Make the repository if it isn't there, and upload a folder in one commit; return its address.

    Weights of another form that are in the repository are removed; all else there stays.

    Raises:
        FinesweepError: the Hub refuses or can't be reached.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    # The errors of httpx, or of httpx2, whichever the client stands on; of the OS; and of xet.
    unreachable: tuple[Any, ...] = (*HfHubHTTPError.__bases__, RuntimeError)
    api = HfApi()
    try:
        address = str(api.create_repo(repo, private=private, exist_ok=True))
        api.upload_folder(
            folder_path=folder,
            repo_id=repo,
            commit_message="Model, tokenizer and card by finesweep",
            delete_patterns=list(WEIGHTS),
        )
    except HfHubHTTPError as error:
        fix = "hf auth login takes a token that may write there." if _is_denied(error) else ""
        rule = f"The Hub refuses: {error.server_message or str(error).splitlines()[0]}"
        raise FinesweepError(Fault("push", rule, repo, fix=fix)) from error
    except unreachable as error:
        rule = f"{constants.ENDPOINT} doesn't answer: {str(error).strip() or type(error).__name__}"
        fix = "--dry-run shows what would be sent."
        raise FinesweepError(Fault("push", rule, repo, fix=fix)) from error
    return address


def _is_denied(error: HfHubHTTPError) -> bool:
    return error.response is not None and error.response.status_code in (401, 403)
