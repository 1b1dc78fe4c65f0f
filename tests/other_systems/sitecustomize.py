"""Take from finesweep's code what OTHER_SYSTEM, `darwin` or `win32`, doesn't have; the libraries keep it.

Python reads this file at its start when its folder is on PYTHONPATH. Libraries have code of their own for
each system and choose it by what they were built for, so that nothing may be taken away from them.
"""

import builtins
import os
import signal
import subprocess
import sys
from types import ModuleType
from typing import Any

SYSTEM = os.environ["OTHER_SYSTEM"]
LINUX_ONLY = {
    "os": """eventfd getxattr listxattr memfd_create O_DIRECT O_PATH O_TMPFILE pidfd_open posix_fadvise
        posix_fallocate removexattr sched_getaffinity sched_setaffinity setxattr splice""",
    "signal": "sigtimedwait sigwaitinfo SIGPOLL SIGPWR SIGRTMAX SIGRTMIN SIGSTKFLT",
}
POSIX_ONLY = {
    "os": """chown chroot fchdir fchmod fchown fork forkpty geteuid getegid getgid getgroups getloadavg
        getpgid getpgrp getpriority getsid getuid killpg lchown lockf major minor mkfifo mknod nice openpty
        O_CLOEXEC O_DIRECTORY O_DSYNC O_NOCTTY O_NOFOLLOW O_NONBLOCK O_SYNC pathconf posix_spawn pread
        pwrite readv register_at_fork setegid seteuid setgid setpgid setpriority setsid setuid statvfs sync
        sysconf tcgetpgrp ttyname uname wait wait3 wait4 WNOHANG writev""",
    "signal": """alarm getitimer pause pthread_kill pthread_sigmask setitimer SIGALRM SIGBUS SIGCHLD SIGCONT
        SIGHUP SIGKILL siginterrupt sigpending SIGPIPE SIGPROF SIGQUIT SIGSTOP SIGTSTP SIGTTIN SIGTTOU
        SIGURG SIGUSR1 SIGUSR2 SIGVTALRM sigwait SIGWINCH SIGXCPU SIGXFSZ""",
}
POSIX_MODULES = ["fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"]


class Poorer(ModuleType):
    """A module with some names taken away and others put in their place."""

    def __init__(self, whole: ModuleType, *, without: str = "", **instead: Any) -> None:
        super().__init__(whole.__name__)
        self.__dict__.update(_whole=whole, _without=set(without.split()), **instead)

    def __getattr__(self, name: str) -> Any:
        if name in self._without:
            raise AttributeError(f"{SYSTEM} has no {self.__name__}.{name}")
        return getattr(self._whole, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._whole, name, value)


def open_file(path: Any, flags: int, *mode: int) -> int:
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", str(path))
    return os.open(path, flags, *mode)


def fsync(descriptor: int) -> None:
    with open(f"/proc/self/fdinfo/{descriptor}") as told:
        flags = int(told.read().partition("flags:")[2].split()[0], 8)
    if flags & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(9, "Bad file descriptor")
    os.fsync(descriptor)


def popen(*words: Any, preexec_fn: Any = None, **settings: Any) -> Any:
    if preexec_fn is not None:
        raise ValueError("preexec_fn is not supported on Windows platforms")
    return subprocess.Popen(*words, **settings)


def library(_name: str | None) -> Any:
    raise OSError("no such library here")


def refuse_link(*_: Any, **__: Any) -> None:
    raise OSError("A required privilege is not held by the client")


def poorer_modules() -> dict[str, ModuleType]:
    import ctypes

    import psutil

    gone = {name: words + POSIX_ONLY[name] * (SYSTEM == "win32") for name, words in LINUX_ONLY.items()}
    special = {"open": open_file, "fsync": fsync, "name": "nt"} if SYSTEM == "win32" else {}
    if SYSTEM == "win32":
        os.symlink = refuse_link
    else:
        del psutil.Process.cpu_affinity
    return {
        "os": Poorer(os, without=gone["os"], **special),
        "signal": Poorer(signal, without=gone["signal"]),
        "sys": Poorer(sys, platform=SYSTEM),
        "ctypes": Poorer(ctypes, CDLL=library),
        "subprocess": Poorer(subprocess, Popen=popen) if SYSTEM == "win32" else subprocess,
    }


def imported(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
    package = str((globals or {}).get("__package__")).partition(".")[0]
    if level or package not in ("finesweep", "hydra_plugins"):
        return whole_import(name, globals, locals, fromlist, level)
    if SYSTEM == "win32" and name in POSIX_MODULES:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return POORER.get(name) or whole_import(name, globals, locals, fromlist, level)


whole_import = builtins.__import__
POORER = poorer_modules()
builtins.__import__ = imported
