"""The storage that a study is in: opened as its config says, and Optuna kept quiet about it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from finesweep.config.build import build
from finesweep.config.trust import check_storage
from finesweep.errors import ConfigError, Fault
from finesweep.system.redaction import redact
from finesweep.system.sweep_folder import SweepFolder

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

SQLITE_WAIT_S = 120


def open_storage(storage: Any, folder: Path) -> BaseStorage:
    """Open the storage that a config names, resolving what comes from the environment only now.

    Raises:
        ConfigError: it can't be opened, or isn't trusted.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    check_storage(storage, folder)
    spec = OmegaConf.to_container(OmegaConf.create({"storage": storage}), resolve=True)["storage"]  # type: ignore
    try:
        if isinstance(spec, dict):
            return build(spec)
        url = spec or f"sqlite:///{SweepFolder(folder).study}"
        is_file = url.startswith("sqlite")
        engine = {"connect_args": {"timeout": SQLITE_WAIT_S}} if is_file else {"pool_pre_ping": True}
        opened = optuna.storages.RDBStorage(url, engine_kwargs=engine)
    except (ImportError, ValueError, OSError, SQLAlchemyError) as error:
        rule = f"The study's storage can't be opened: {redact(str(error).splitlines()[0])}"
        fix = "postgresql+psycopg2://user@host/database and sqlite:////absolute/path.db are valid forms."
        raise ConfigError(Fault("hydra.sweeper.storage", rule, fix=fix)) from error
    if is_file:
        _write_ahead(opened.engine)
    return opened


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
