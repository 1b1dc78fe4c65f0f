"""The storage that a study is in: opened as its config says, and Optuna kept quiet about it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from finesweep.config.build import build
from finesweep.config.trust import JOURNAL, check_storage
from finesweep.errors import ConfigError, Fault
from finesweep.sweeps.connections import POOL, closed_if_it_fails, let_go_when_idle
from finesweep.sweeps.journal import open_journal
from finesweep.system.presence import Present
from finesweep.system.processes import host_id
from finesweep.system.redaction import redact
from finesweep.system.sweep_folder import SweepFolder

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

SQLITE_WAIT_S = 120
# A host that doesn't answer is waited for inside the driver, where not even Ctrl-C comes through.
CONNECT_WAIT_S = 10
CONNECT_WAIT = {  # as each driver calls it
    "psycopg2": "connect_timeout",
    "psycopg": "connect_timeout",
    "pymysql": "connect_timeout",
    "mysqldb": "connect_timeout",
    "mysqlconnector": "connection_timeout",
    "pg8000": "timeout",
}


def open_storage(storage: Any, folder: Path, *, connect_wait_s: int = CONNECT_WAIT_S) -> BaseStorage:
    """Open the storage that a config names, resolving what comes from the environment only now.

    Args:
        storage: as the config has it.
        folder: the sweep's.
        connect_wait_s: how long a database server may take to answer, unless the URL says it.

    Raises:
        ConfigError: it can't be opened, or isn't trusted.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    check_storage(storage, folder)
    spec = _resolved(storage)
    try:
        if isinstance(spec, dict):
            return build(spec)
        if spec == JOURNAL:
            return open_journal(SweepFolder(folder))
        url = spec or f"sqlite:///{SweepFolder(folder).study}"
        is_file = url.startswith("sqlite")
        wait = {"timeout": SQLITE_WAIT_S} if is_file else _connect_wait(url, connect_wait_s)
        engine = {"connect_args": wait, **({} if is_file else POOL)}
        with closed_if_it_fails():
            opened = optuna.storages.RDBStorage(url, engine_kwargs=engine)
    except (ImportError, ValueError, OSError, SQLAlchemyError) as error:
        rule = f"The study's storage can't be opened: {redact(str(error).splitlines()[0])}"
        fix = "postgresql+psycopg2://user@host/database, sqlite:////absolute/path.db and journal are valid."
        raise ConfigError(Fault("hydra.sweeper.storage", rule, fix=fix)) from error
    if is_file:
        _write_ahead(opened.engine)
    else:
        let_go_when_idle(opened.engine)
    return opened


def _connect_wait(url: str, seconds: int) -> dict[str, int]:
    """Return a driver's argument for how long it waits to be connected, unless the URL has it."""
    from sqlalchemy import make_url

    parts = make_url(url)
    argument = CONNECT_WAIT.get(parts.get_driver_name())
    return {argument: seconds} if argument and argument not in parts.query else {}


def check_hosts(storage: Any, others: Sequence[Present]) -> None:
    """Refuse SQLite where several hosts work on a sweep: its log beside the file is one host's memory.

    Args:
        storage: as the config has it.
        others: who else works on the sweep.

    Raises:
        ConfigError: one of them is elsewhere, and the study would be destroyed.
    """
    elsewhere = [one for one in others if one.host_id != host_id()]
    if not elsewhere:
        return
    spec = _resolved(storage)
    url = str(spec.get("url", "")) if isinstance(spec, dict) else str(spec or "sqlite")
    if url.startswith("sqlite"):
        where = f"process {elsewhere[0].pid} of {elsewhere[0].host}"
        rule = f"SQLite is for the processes of one host, and {where} works on this sweep, too."
        fix = "Begin one of several hosts under another name=..., with hydra.sweeper.storage=journal."
        raise ConfigError(Fault("hydra.sweeper.storage", rule, "SQLite", fix=fix))


def _resolved(storage: Any) -> Any:
    return OmegaConf.to_container(OmegaConf.create({"storage": storage}), resolve=True)["storage"]  # type: ignore


def _write_ahead(engine: Any) -> None:
    """Let SQLite append to a log instead of waiting for the disk at every change.

    A killed process loses nothing that way; a power cut may lose the last changes, never the database.
    """
    from sqlalchemy import event

    def set_up(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    event.listen(engine, "connect", set_up)
    engine.dispose()  # connections made before now


def quiet_optuna() -> None:
    """Show only Optuna's warnings, and none about parts it calls experimental: the user has chosen them."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
