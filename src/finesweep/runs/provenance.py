"""What a run stood on: versions, code, hardware, threads, and the content of data and model."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finesweep.system import distributed
from finesweep.system.records import read_json
from finesweep.system.redaction import redact_code
from finesweep.system.version import __version__
from finesweep.training.base import PACKED

if TYPE_CHECKING:
    from finesweep.training.base import Packing

LONGEST_DIFF = 200_000
LONGEST_SECRET = 10_000  # the cut goes through none
# A repository may be a stranger's: none of the commands that it configures is run, and nothing is fetched.
QUIET_GIT = {"core.fsmonitor": "false", "core.hooksPath": "/dev/null"}
NO_FETCHING = {"GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0"}
DIFF = ("diff", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty", "HEAD")
# Environment variables that change bits or devices.
RECORDED_VARIABLES = (
    "ACCELERATE_MIXED_PRECISION",
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "CUDA_VISIBLE_DEVICES",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "PYTHONHASHSEED",
)


def capture(
    fingerprints: dict[str, Any], speedups: Sequence[str], pack: Packing | None = None
) -> dict[str, Any]:
    """Describe this process, for provenance.json.

    Args:
        fingerprints: of data, model and tokenizer.
        speedups: names of those that are on.
        pack: whose trials are all of one process, and of the code that it began with.
    """
    import torch

    here = Path.cwd()
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "finesweep": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": _packages(),
        "git": git_state(here) if pack is None else pack.once(["git", here], lambda: git_state(here)),
        "hardware": {
            "machine": platform.machine(),
            "cpu": _cpu_name(),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "cores": os.cpu_count(),
            "gpus": gpus,
        },
        "threads": torch.get_num_threads(),
        "processes": distributed.world_size(),
        "speedups": list(speedups),
        **({"packed": {"slots": pack.slots}} if pack and PACKED in speedups else {}),
        "environment": {name: os.environ[name] for name in RECORDED_VARIABLES if name in os.environ},
        "fingerprints": fingerprints,
    }


@functools.cache
def _packages() -> dict[str, str]:
    """Return the installed packages' versions, read once for all the runs of a process."""
    return dict(sorted(_name_and_version(one) for one in metadata.distributions()))


def _name_and_version(package: metadata.Distribution) -> tuple[str, str]:
    """Read a package's first lines alone: to parse all of its description for each takes half a second."""
    head = (package.read_text("METADATA") or package.read_text("PKG-INFO") or "").partition("\n\n")[0]
    fields = dict(line.split(": ", 1) for line in reversed(head.splitlines()) if ": " in line)
    return fields.get("Name", ""), fields.get("Version", "")


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return the commit and the uncommitted changes of the repository around a folder, if there is one.

    The hash is that of the changes as they are; in what is shown of them secrets are masked.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    diff = _git(folder, *DIFF, settings=_without_filters(folder)) or ""
    digest = hashlib.sha256(diff.encode()).hexdigest()
    shown = redact_code(diff[: LONGEST_DIFF + LONGEST_SECRET])
    shown = shown if len(diff) <= LONGEST_DIFF else shown[:LONGEST_DIFF] + "\n(cut)\n"
    return {"commit": commit.strip(), "diff_sha256": digest, "diff": shown}


def recorded_speedups(file: Path) -> list[str] | None:
    """Return the speed-ups that were on, as a run's provenance.json says; None where there is none."""
    return read_json(file).get("speedups") if file.is_file() else None


def differences(before: Any, after: Any, key: str = "") -> list[tuple[str, Any, Any]]:
    """Return (key, before, after) wherever two trees of plain values differ; None where one has nothing."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = [*before, *(name for name in after if name not in before)]
        found = []
        for name in names:
            found += differences(before.get(name), after.get(name), f"{key}.{name}" if key else name)
        return found
    return [] if before == after else [(key, before, after)]


def _without_filters(folder: Path) -> dict[str, str]:
    """Return settings that turn off the filters which the repository itself configures: they are commands."""
    listing = ("config", "--null", "--includes", "--show-scope", "--name-only", "--get-regexp", r"^filter\.")
    words = (_git(folder, *listing) or "").split("\0")
    scopes = zip(words[::2], words[1::2], strict=False)
    return {name: "" for scope, name in scopes if scope in ("local", "worktree")}


def _git(folder: Path, *arguments: str, settings: Mapping[str, str] | None = None) -> str | None:
    variables = {"GIT_CONFIG_COUNT": str(len(given := {**QUIET_GIT, **(settings or {})}))}
    for i, (name, value) in enumerate(given.items()):
        variables |= {f"GIT_CONFIG_KEY_{i}": name, f"GIT_CONFIG_VALUE_{i}": value}
    try:
        command = ["git", "-C", str(folder), *arguments]
        environment = {**os.environ, **NO_FETCHING, **variables}
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=20, env=environment
        )
    except (OSError, subprocess.TimeoutExpired):  # no git here: there is nothing to record
        return None
    return done.stdout if done.returncode == 0 else None


@functools.cache
def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
