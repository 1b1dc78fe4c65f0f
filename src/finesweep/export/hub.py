"""Sending a folder to the Hub, and what may stand against it."""

from __future__ import annotations

from pathlib import Path

from finesweep.errors import Fault, FinesweepError

# What an earlier push in another form left: a repository with an adapter and a whole model is loaded wrongly.
WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "*.onnx", "*.onnx.data", "adapter_config.json")


def check_name(repo: str) -> None:
    """Make sure that a repository can be called so.

    Raises:
        FinesweepError: it can't.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise FinesweepError(Fault("REPO", f"The Hub takes no such name: {error}", repo)) from error
    if "/" not in repo:
        raise FinesweepError(Fault("REPO", "It is USER/NAME.", repo))


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

    disable_progress_bars()
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
        status = error.response.status_code if error.response is not None else 0
        fix = "The token needs the right to write there: hf auth login." if status in (401, 403) else ""
        rule = f"The Hub refuses: {str(error).splitlines()[0]}"
        raise FinesweepError(Fault("push", rule, repo, fix=fix)) from error
    except Exception as error:  # of httpx, the OS, proxies and xet, which have no common base
        rule = f"{constants.ENDPOINT} doesn't answer ({type(error).__name__})."
        raise FinesweepError(Fault("push", rule, repo, fix="--dry-run shows what would be sent.")) from error
    return address
