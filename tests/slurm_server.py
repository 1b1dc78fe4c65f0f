"""A SLURM of one's own on this machine, from Debian's packages: a controller and two nodes."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
NODES = ("n1", "n2")
CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
# A job that goes back into the queue waits for as long as its credential lasts, else 2 minutes.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,batch_sched_delay=0,default_queue_depth=1000
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=30
MinJobAge=600
JobRequeue=1
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=10 State=UP
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} State=UNKNOWN RealMemory=4000 "
    "CPUs=8 Boards=1 SocketsPerBoard=1 CoresPerSocket=8 ThreadsPerCore=1"
)
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}


def why_not() -> str:
    """Say why there can be none here, or nothing."""
    missing = [name for name in PROGRAMS if not shutil.which(name, path=_path())]
    if missing:
        return f"{', '.join(missing)} missing: apt-get install --no-install-recommends slurm-wlm munge"
    return "" if os.geteuid() == 0 else "its daemons were tried as root alone"


@dataclass(frozen=True)
class Cluster:
    """A SLURM that runs.

    Args:
        folder: with its slurm.conf, state and logs.
        environment: of its commands.
    """

    folder: Path
    environment: dict[str, str]

    def sbatch(self, script: str, *options: str, cwd: Path) -> str:
        """Submit a script, and return the job's number."""
        return self._call("sbatch", "--parsable", *options, text=script, cwd=cwd).strip()

    def states(self, job: str) -> dict[str, str]:
        """Return the state of each task of a job; those that wait for a place have one line together."""
        lines = self._call("squeue", "--noheader", "--states=all", "--format=%i %T", f"--jobs={job}")
        return dict(line.split() for line in lines.splitlines())

    def wait(self, job: str, seconds: float = 300) -> dict[str, str]:
        """Wait until nothing of a job is left to run, and return the states that it ended in."""
        deadline = time.monotonic() + seconds
        while not (states := self.states(job)) or set(states.values()) - ENDED:
            assert time.monotonic() < deadline, states
            time.sleep(0.5)
        return states

    def restarts(self, job: str) -> int:
        """Return how often a job, or a task of one, has gone back into the queue."""
        words = self._call("scontrol", "--oneliner", "show", "job", job).split()
        return int(next(word for word in words if word.startswith("Restarts=")).partition("=")[2])

    def cancel(self, job: str, *options: str) -> None:
        """End a job or a task of one; or send it a signal."""
        self._call("scancel", *options, job)

    def _call(self, *command: str, text: str = "", cwd: Path | None = None) -> str:
        # In files: daemons would keep a pipe open, and with it the call.
        with tempfile.TemporaryFile("w+") as said:
            done = subprocess.run(
                [shutil.which(command[0], path=_path()) or command[0], *command[1:]],
                input=text,
                stdout=said,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=cwd or self.folder,
                env=self.environment,
            )
            said.seek(0)
            assert done.returncode == 0, f"{command}: {said.read()}"
            return said.read()


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Run a SLURM of two nodes, of 8 cores in name each; at its end it ends its jobs."""
    with tempfile.TemporaryDirectory() as name:  # munged wants folders that others may enter: pytest's aren't
        folder = Path(name)
        folder.chmod(0o755)
        _configure(folder)
        cluster = Cluster(folder, {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")})
        try:
            _start(cluster)
            yield cluster
        finally:
            _stop(cluster)


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def _configure(folder: Path) -> None:
    for place in ("state", *(f"spool/{node}" for node in NODES)):
        (folder / place).mkdir(parents=True)
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(os.urandom(1024))
    host, ports = socket.gethostname().partition(".")[0], _free_ports(1 + len(NODES))
    nodes = [NODE.format(name=n, host=host, port=p) for n, p in zip(NODES, ports[1:], strict=True)]
    text = CONFIG.format(
        host=host, ports=ports, user=getpass.getuser(), folder=folder, nodes="\n".join(nodes)
    )
    (folder / "slurm.conf").write_text(text)


def _free_ports(count: int) -> list[int]:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


def _start(cluster: Cluster) -> None:
    folder = cluster.folder
    names = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    places = [f"--{option}={folder}/munge.{name}" for option, name in names.items()]
    cluster._call("munged", "--force", *places)
    config = ("-f", str(folder / "slurm.conf"))
    cluster._call("slurmctld", *config, "-c")
    for node in NODES:
        cluster._call("slurmd", "-N", node, *config)
    deadline = time.monotonic() + 60
    while set(cluster._call("sinfo", "--Node", "--noheader", "--format=%T").split()) != {"idle"}:
        logs = [file.read_text()[-2000:] for file in folder.glob("*.log")]
        assert time.monotonic() < deadline, "\n".join(logs)
        time.sleep(0.2)


def _stop(cluster: Cluster) -> None:
    """End what runs in the cluster, and then the cluster."""
    with suppress(AssertionError):  # it may never have come up
        cluster._call("scancel", "--full", "--signal=KILL", "--user", getpass.getuser())
        cluster._call("scontrol", "shutdown")
    ours = [int(file.read_text()) for file in cluster.folder.glob("*.pid")]
    processes = [psutil.Process(pid) for pid in ours if psutil.pid_exists(pid)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(processes, timeout=20)
    for process in left:
        process.kill()
