"""Ask, in seconds, whether a model or data set of the Hugging Face Hub can be loaded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from finesweep.errors import Fault, FinesweepError
from finesweep.system.paths import PACKAGE_SCHEME, input_path, model_location

TIMEOUT_S = 5


def check_available(
    name: str, *, kind: Literal["model", "dataset"], key: str, revision: str | None = None
) -> None:
    """Make sure that `name` is a local folder, is in the hub's cache, or can be reached now.

    transformers and datasets retry an unreachable hub for about a minute and then blame the name;
    this answers within seconds and says which of the two it is.

    Raises:
        FinesweepError: with what is missing and the ways round it.
    """
    if name.startswith(PACKAGE_SCHEME) or looks_local(name):
        input_path(name)
    elif not _is_cached(name, kind, revision):
        _ask_hub(name, kind, key, revision)


def looks_local(name: str) -> bool:
    """Whether a name is that of a folder of this machine, there or not."""
    return os.path.exists(Path(name).expanduser()) or name.startswith((".", "/", "~")) or name.count("/") > 1


def _is_cached(name: str, kind: str, revision: str | None) -> bool:
    if kind == "model":
        from huggingface_hub import try_to_load_from_cache

        return isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str)
    hf_home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    datasets_cache = os.path.expanduser(os.environ.get("HF_DATASETS_CACHE", Path(hf_home, "datasets")))
    return os.path.isdir(Path(datasets_cache, name.replace("/", "___")))


def _ask_hub(name: str, kind: Literal["model", "dataset"], key: str, revision: str | None) -> None:
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if constants.HF_HUB_OFFLINE:
        raise _unavailable(name, kind, key, "the network is switched off by HF_HUB_OFFLINE")
    try:
        HfApi().repo_info(name, repo_type=kind, revision=revision, timeout=TIMEOUT_S)
    except RevisionNotFoundError:
        rule = f"The hub's {kind} {name} has no revision {revision}."
        raise FinesweepError(
            Fault(key, rule, value=name, fix="Leave the revision out for the newest.")
        ) from None
    except GatedRepoError:
        rule = f"The hub's {kind} asks for its terms to be accepted."
        raise FinesweepError(
            Fault(key, rule, value=name, fix="Accept them there, then set HF_TOKEN.")
        ) from None
    except (RepositoryNotFoundError, HFValidationError):
        rule = f"The hub has no {kind} of this name that you may read, and there is no such local folder."
        raise FinesweepError(
            Fault(key, rule, value=name, fix="Check the name; HF_TOKEN opens private ones.")
        ) from None
    except Exception as error:  # httpx, OS and proxy errors have no common base; all mean "not reachable"
        reason = f"{constants.ENDPOINT} doesn't answer ({type(error).__name__})"
        raise _unavailable(name, kind, key, reason) from None


def _unavailable(name: str, kind: str, key: str, reason: str) -> FinesweepError:
    demo = "model=minilm" if kind == "model" else "data=bbc-news"
    rule = f"The {kind} isn't on this machine, and {reason}."
    fix = f"Set {key} to a local folder, or HF_HOME to a cache that has it; {demo} needs no network."
    return FinesweepError(Fault(key, rule, value=name, fix=fix))


def cached_file(name: str, file: str, revision: str | None = None) -> Path | None:
    """Return where a file of a hub's model lies in this machine's cache; None where it doesn't."""
    from huggingface_hub import try_to_load_from_cache

    if os.path.exists(model_location(name)):
        return None
    found = try_to_load_from_cache(name, file, revision=revision)
    return Path(found) if isinstance(found, str) else None


def cached_commit(name: str, revision: str | None = None) -> str | None:
    """Return the commit that a hub's model was just loaded from; None for one that isn't the hub's."""
    found = cached_file(name, "config.json", revision)
    return found.parent.name if found else None
