"""What this process may use of the machine; known without importing torch."""

from __future__ import annotations

import os
from pathlib import Path

MOST_WORKERS = 4
# How a process says that it got no memory: Python, torch, C++, the loader of libraries.
MEMORY_WORDS = (
    "MemoryError",
    "can't allocate memory",
    "annot allocate memory",
    "bad_alloc",
    "failed to map segment from shared object",
)


CGROUPS = Path("/sys/fs/cgroup")


def allowed_cores() -> int:
    """Count the CPU cores that this process may use: those it is tied to, within a container's quota.

    OMP_NUM_THREADS, which a scheduler or a person sets, is a limit too, if not where a launcher of several
    processes sets it for each of them.
    """
    limits = [_tied_cores(), _quota(), None if "LOCAL_WORLD_SIZE" in os.environ else _asked_for()]
    return max(1, min(limit for limit in limits if limit is not None))


def _quota(root: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int | None:
    """Return how many cores' time a control group grants (`docker run --cpus 2`); None without a limit."""
    groups = _groups(own)
    unified = groups.get("", "/").lstrip("/")
    old = groups.get("cpu", groups.get("cpu,cpuacct", "/")).lstrip("/")
    granted: list[float] = []
    for place in (root / unified, root):
        if (file := place / "cpu.max").is_file():
            quota, period = file.read_text().split()
            granted += [] if quota == "max" else [int(quota) / int(period)]
    for place in (root / "cpu" / old, root / "cpu"):
        if (file := place / "cpu.cfs_quota_us").is_file() and (quota := int(file.read_text())) > 0:
            granted.append(quota / int((place / "cpu.cfs_period_us").read_text()))
    return int(min(granted)) if granted else None


def free_memory(root: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """Return the bytes of memory that this process may still take, within its container's limit."""
    import psutil

    limits = [psutil.virtual_memory().available]
    for place, limit, used, cache in _memory_groups(root, own):
        if (place / limit).is_file() and (text := (place / limit).read_text().strip()).isdecimal():
            files = dict(line.split() for line in (place / "memory.stat").read_text().splitlines())
            taken = int((place / used).read_text()) - int(files.get(cache, 0))
            limits.append(int(text) - taken)
    return max(0, min(limits))


def _memory_groups(root: Path, own: Path) -> list[tuple[Path, str, str, str]]:
    """Return where control groups may limit memory: folder, the files of limit and use, and in memory.stat
    the name of what the system gives back when it is short: files that it has read.
    """
    groups = _groups(own)
    unified, old = groups.get("", "/").lstrip("/"), groups.get("memory", "/").lstrip("/")
    new_names = "memory.max", "memory.current", "inactive_file"
    old_names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
    return [
        *((place, *new_names) for place in (root / unified, root)),
        *((place, *old_names) for place in (root / "memory" / old, root / "memory")),
    ]


def _groups(own: Path) -> dict[str, str]:
    """Return this process's control groups by their kind, which is empty for the unified one."""
    return dict(line.split(":", 2)[1:] for line in own.read_text().splitlines()) if own.exists() else {}


def _asked_for() -> int | None:
    """Return OMP_NUM_THREADS; of a list, one for each level, its first."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() else None


def _tied_cores() -> int:
    """Count the cores that this process is tied to: all where the system ties none to some (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    import psutil

    process = psutil.Process()
    bound = process.cpu_affinity() if hasattr(process, "cpu_affinity") else None
    return len(bound or ()) or os.cpu_count() or 1


def usable_cores() -> int:
    """Count the CPU cores for this process: FINESWEEP_THREADS in a sweep's worker, else all it may use.

    The processes of one run on this machine share them.
    """
    cores = int(os.environ.get("FINESWEEP_THREADS", allowed_cores()))
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def visible_gpus() -> list[str]:
    """List the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return [gpu for gpu in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if gpu.strip() and gpu != "-1"]
    devices = sorted(path.name for path in Path("/proc/driver/nvidia/gpus").glob("*"))
    return [str(i) for i in range(len(devices))]


def default_workers(processes: int = 1) -> int:
    """Choose how many workers a sweep has: one for each GPU; without one, for each core, 4 at most.

    A worker whose trials have several processes needs that many.

    Small encoders make poor use of several cores: two workers of one thread do 1.3 times the work of one
    worker with two.
    """
    places = len(visible_gpus()) or min(MOST_WORKERS * processes, allowed_cores())
    return max(1, places // processes)


def is_about_memory(text: str) -> bool:
    """Whether a process's last words say that it got no memory."""
    return any(word in text for word in MEMORY_WORDS)
