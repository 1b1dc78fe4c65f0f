"""Data sets of the Hugging Face Hub, at a commit that is known afterwards."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from finesweep.data.class_labels import class_names
from finesweep.errors import DataError, Fault, nearest
from finesweep.system.hub import TIMEOUT_S
from finesweep.system.paths import SPLIT_NAMES, HubDataset

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

logger = logging.getLogger(__name__)

COMMIT = re.compile(r"[0-9a-f]{40}")
FILE_AT_COMMIT = re.compile(r"^hf://datasets/[^@]+@([0-9a-f]{40})/")


def hub(
    path: HubDataset,
    name: str | None = None,
    revision: str | None = None,
    splits: dict | None = None,
    streaming: bool = False,
) -> DatasetDict:
    """Load a data set from the Hugging Face Hub, or from a local folder in a hub data set's layout.

    A branch or tag is turned into its commit first, when the hub answers, so that all processes of a
    sweep load the same rows; `hub_commit` reads the commit off the result.

    Args:
        path: OWNER/NAME, or a folder.
        name: the data set's configuration, where it has several.
        revision: a commit, tag or branch.
        splits: which of its splits serve as train, validation and test; None for those that don't exist.
        streaming: refused; here to say why.

    Raises:
        DataError: a split that isn't there, or a name that can't be loaded.
    """
    from datasets import DatasetDict, load_dataset

    if streaming:
        rule = "A stream has no length and no second pass; splits, shuffling and step counts need both."
        fix = "Set it to false. The rows are memory-mapped from disk, not held in memory."
        raise DataError(Fault("data.source.streaming", rule, True, fix=fix))
    try:
        loaded = load_dataset(path, name, revision=_commit(path, revision))
    except (OSError, ValueError) as error:
        rule = f"It can't be loaded: {str(error).splitlines()[0]}"
        raise DataError(
            Fault("data.source.path", rule, path, fix="Check path, name and revision.")
        ) from error
    if Path(path).expanduser().is_dir():
        _check_names(path, name)
    available = tuple(str(split) for split in loaded)
    wanted = splits or {split: split for split in SPLIT_NAMES if split in available}
    for role, split in wanted.items():
        if split is not None and split not in available:
            rule = f"The data set has no such split. {nearest(split, available)}".strip()
            fix = f"data.source.splits.{role}=null makes it from train."
            raise DataError(Fault(f"data.source.splits.{role}", rule, split, valid=available, fix=fix))
    return DatasetDict({role: loaded[split] for role, split in wanted.items() if split is not None})


def _check_names(path: str, name: str | None) -> None:
    """Refuse a folder whose files give the numbers of one column different names: datasets reads the first's.

    Raises:
        DataError: with both lists.
    """
    from datasets import Features, load_dataset_builder
    from pyarrow import parquet

    lists: dict[str, tuple[str, tuple[str, ...]]] = {}
    for files in (load_dataset_builder(path, name).config.data_files or {}).values():
        for file in (str(file) for file in files if str(file).endswith(".parquet")):
            for column, feature in Features.from_arrow_schema(parquet.read_schema(file)).items():
                names = class_names(feature)
                if names is None:
                    continue
                first, known = lists.setdefault(column, (file, names))
                if names != known:
                    rule = f"Its `{column}` numbers other names ({', '.join(names)}) than that of {first}"
                    fix = "data=parquet reads such files by their names."
                    raise DataError(Fault(file, f"{rule} ({', '.join(known)}).", fix=fix))


def hub_commit(splits: Mapping[str, Dataset]) -> str | None:
    """Return the hub commit that splits were loaded at, or None when they aren't the hub's."""
    for split in splits.values():
        for url in split.info.download_checksums or {}:
            if found := FILE_AT_COMMIT.match(str(url)):
                return found[1]
    return None


def _commit(path: str, revision: str | None) -> str | None:
    """Ask the hub which commit a revision is; without an answer the cache serves the revision itself."""
    from huggingface_hub import HfApi, constants

    local = Path(path).expanduser().exists()
    if local or constants.HF_HUB_OFFLINE or (revision and COMMIT.fullmatch(revision)):
        return revision
    try:
        return HfApi().repo_info(path, repo_type="dataset", revision=revision, timeout=TIMEOUT_S).sha
    except Exception as error:  # httpx, OS and proxy errors have no common base; load_dataset decides
        logger.info("data       %s isn't pinned: the hub doesn't answer (%s)", path, type(error).__name__)
        return revision
