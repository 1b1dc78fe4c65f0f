"""The command line of `python train.py` and `finesweep train`: Hydra's, with errors one can act on."""

from __future__ import annotations

import argparse
import copy
import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from finesweep.config.authorship import is_own_config
from finesweep.config.check import Origin, register_resolvers
from finesweep.config.hydra_versions import hide_choices, main_options
from finesweep.config.trust import OWN, strangers, vouched
from finesweep.errors import ConfigError, Fault, FinesweepError, Interrupted, TrainingError
from finesweep.runs.layout import disk_full_error
from finesweep.system import distributed
from finesweep.system.console import be_verbose, show_error
from finesweep.system.paths import FOREIGN_SWEEPS, config_folder
from finesweep.system.process import end_quickly
from finesweep.system.records import read_yaml
from finesweep.system.redaction import redact_tracebacks, redacted_output, remember
from finesweep.system.redaction.words import typed_secrets
from finesweep.trackers.choice import spelled_out

T = TypeVar("T")

PRIMARY = "train"

# How Hydra complains of `group=null`: a plain ValueError.
NULL_GROUP = "Config group override must be a string or a list"
# Of this process's command line; a sweep's workers have none.
_options: dict[str, Any] = {"is_saved": False}


def train(arguments: Sequence[str] | None = None) -> None:
    """Run Hydra's command line on finesweep's config.

    Args:
        arguments: the words after the command; sys.argv's when left out.
    """
    distributed.start_missing()
    end_quickly()
    redact_tracebacks()
    with reported_errors():
        launch(sys.argv[1:] if arguments is None else arguments)


def launch(arguments: Sequence[str]) -> None:
    """Do what `train` does, and let a user's mistake travel.

    Raises:
        FinesweepError: it, from a sweep; a single run reports its own and exits.
    """
    register_resolvers()
    words, trusted, is_saved = own_options(list(arguments))
    given = hydra_options(words)
    if given.multirun and (given.cfg or given.info):
        rule = f"--{'cfg' if given.cfg else 'info'} shows what one config is, and -m asks for many."
        raise ConfigError(Fault("-m", rule, fix="Leave -m out, and give each key one value."))
    is_around_saved = given.multirun and is_saved
    if is_around_saved and not any(word.startswith("hydra/sweeper=") for word in given.overrides):
        words.append("hydra/sweeper=finesweep")
    remember(typed_secrets(words))
    _options.update(is_saved=is_saved)
    with (
        redacted_output(),
        strangers(vouched_in(words, trusted, is_saved=is_saved)),
        _own_sweeper() if is_around_saved else nullcontext(),
    ):
        with_repairs(_call_hydra, words)


@contextmanager
def _own_sweeper() -> Iterator[None]:
    """Show Hydra finesweep's sweeper around a saved config, beside which it finds none of its choices."""
    from hydra.core.config_store import ConfigStore

    root, store = config_folder(), ConfigStore.instance()
    before = copy.deepcopy(store.repo)
    for file in (root / "hydra" / "sweeper").rglob("*.yaml"):
        group = file.parent.relative_to(root).as_posix()
        store.store(file.stem, OmegaConf.load(file), group, provider="finesweep")
    try:
        yield
    finally:
        store.repo = before


def job(config: DictConfig) -> float | list[float]:
    """Execute one composed config: a single run, or the current trial of a sweep.

    Returns:
        The objective; one value for each objective where a sweep has several.
    """
    from finesweep.sweeps.trial import current_trial

    trial = current_trial()
    if trial is not None:
        from finesweep.sweeps.job import run_trial

        return run_trial(config, trial)
    from finesweep.config.diagnosis import check_optional_choices
    from finesweep.runs.anchoring import anchored_saved, working_in
    from finesweep.runs.run import run

    is_saved = bool(_options["is_saved"])
    with reported_errors():
        overrides = task_overrides()
        check_optional_choices(overrides)
        origin, here = origin_of(overrides, is_saved), Path(HydraConfig.get().runtime.cwd)
        if is_saved:
            with working_in(here):
                config = anchored_saved(config, Path(origin.path).parent, overrides)
        return run(config, origin=origin, overrides=overrides, called_in=here).objective


def task_overrides() -> tuple[str, ...]:
    """Return the command line's overrides as they were typed, interpolations unresolved."""
    words: Any = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)  # type: ignore[arg-type]
    return tuple(map(str, words))


@contextmanager
def reported_errors() -> Iterator[None]:
    """Print a user's mistake as a message and exit with its code; let other errors show their traceback."""
    try:
        yield
    except FinesweepError as error:
        distributed.let_main_speak()
        show_error(error)
        sys.exit(error.exit_code)
    except RuntimeError as error:
        if not distributed.is_main() and distributed.is_lost_peer(error):
            sys.exit(1)  # what went wrong is the other's to say
        raise
    except MemoryError:
        rule = "There is not enough memory for this."
        show_error(TrainingError(Fault("memory", rule, fix="Free some, or take a smaller batch or model.")))
        sys.exit(1)
    except OSError as error:
        full = disk_full_error(error, Path.cwd()) or _not_allowed(error)
        if full is None:
            raise
        show_error(full)
        sys.exit(full.exit_code)
    except Interrupted as interruption:
        sys.exit(128 + interruption.signal_number)
    except KeyboardInterrupt:
        sys.exit(130)


def _not_allowed(error: OSError) -> TrainingError | None:
    if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS) or not error.filename:
        return None
    file = Path(os.fsdecode(error.filename))
    rule = f"It can't be read or written: {error.strerror}."
    fix = "Change its permissions, or name another place: output_dir=FOLDER, or a copy of this folder."
    return TrainingError(Fault(str(file if file.exists() else file.parent), rule, fix=fix))


def with_repairs(compose: Callable[[Sequence[str]], T], words: Sequence[str]) -> T:
    """Call what composes a command line; where Hydra can't, try again with the words mended.

    Raises:
        ConfigError: they can't be mended.
    """
    try:
        return compose(words)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        is_known = isinstance(error, HydraException | OmegaConfBaseException)
        if not is_known and not str(error).startswith(NULL_GROUP):
            raise
        from finesweep.config.diagnosis import repair

        return compose(repair(list(words), error))


def _call_hydra(words: Sequence[str]) -> None:
    if vouched() is not None:
        check_primary_config(words)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us instead of to Hydra's own printer
    hide_choices(FOREIGN_SWEEPS)
    typed, sys.argv = sys.argv, [sys.argv[0], *words]
    try:
        hydra.main(config_path=str(config_folder()), config_name=PRIMARY, **main_options())(job)()
    finally:
        sys.argv = typed


def check_primary_config(words: Sequence[str]) -> None:
    """Refuse a saved config that would steer Hydra, whose callbacks and loggers run before any job.

    It is composed as Hydra is about to do it, from whatever lies beside it, and nothing of it is used.

    Raises:
        ConfigError: its settings for Hydra are not those of finesweep's own configs.
    """
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    from finesweep.config.diagnosis import hydra_at
    from finesweep.config.trust import HYDRA, check_defaults, check_hydra, check_searched

    given = hydra_options(words)
    if given.experimental_rerun and HYDRA not in (vouched() or ()):
        rule = "It reads a pickle, which can run code."
        fix = "If you made it: --trust hydra"
        raise ConfigError(Fault("--experimental-rerun", rule, given.experimental_rerun, fix=fix))
    name, primary = given.config_name or PRIMARY, _primary(given)
    content = read_yaml(primary) if primary.is_file() else {}
    check_searched(content)
    with hydra_at(given.config_path or str(config_folder()), given.config_dir):
        hydra_ = GlobalHydra.instance().hydra
        assert hydra_ is not None
        mode = RunMode.MULTIRUN if given.multirun else RunMode.RUN
        try:
            config = hydra_.compose_config(name, given.overrides, mode, with_log_configuration=False)
        except HydraException as error:
            check_defaults(content, str(error))
            raise
    check_hydra(config)


def hydra_options(words: Sequence[str]) -> argparse.Namespace:
    """Read a command line as Hydra does, abbreviations included."""
    from hydra._internal.utils import get_args_parser

    found, more = get_args_parser().parse_known_args(list(words))
    found.overrides += more  # its parser wants all of them in one piece
    return found


def vouched_in(words: Sequence[str], trusted: Sequence[str], *, is_saved: bool) -> frozenset[str] | None:
    """Return what the user vouches for in what a command line names; None where all of it was typed."""
    if not is_saved:
        return vouched()
    given = hydra_options(words)
    outer = (vouched() or frozenset()) - {OWN}
    file = _primary(given)
    return outer | set(trusted) | ({OWN} if is_own_config(file) else set())


def _primary(given: argparse.Namespace) -> Path:
    name = (given.config_name or PRIMARY).removesuffix(".yaml")
    return Path(given.config_path or config_folder(), f"{name}.yaml")


def own_options(words: list[str]) -> tuple[list[str], tuple[str, ...], bool]:
    """Take `--trust NAME` and `-v` out, spell Hydra's options out, and say whether a config was named.

    A list of trackers is spelled out; a file that Hydra sees as a choice and that is none is refused.
    """
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--trust", action="append", default=[])
    own.add_argument("-v", "--verbose", action="store_true")
    known, rest = own.parse_known_args(words)
    if known.verbose:
        be_verbose()
    given = hydra_options(rest)
    is_saved = given.config_path is not None or given.experimental_rerun is not None
    if given.config_path is not None:
        given.config_path = os.path.abspath(os.path.expanduser(given.config_path))
    _refuse_foreign(given.overrides)
    overrides = given.overrides if is_saved else [*spelled_out(given.overrides)]
    return [*_spelled(given), *overrides], tuple(known.trust), is_saved


def _spelled(given: argparse.Namespace) -> Iterator[str]:
    """Return Hydra's options as whole words, its overrides left out."""
    for name, value in vars(given).items():
        if name == "overrides" or value in (None, False):
            continue
        yield f"--{name.replace('_', '-')}"
        if value is not True:
            yield value


def _refuse_foreign(words: Sequence[str]) -> None:
    for word in words:
        group, _, choice = word.lstrip("+").partition("=")
        if group == "sweeps" and choice in FOREIGN_SWEEPS:
            rule = "This file is for W&B's own sweeps; it is no search space of `python train.py -m`."
            fix = f"wandb sweep sweeps/{choice}.yaml"
            raise ConfigError(Fault(group, rule, choice, "command line", fix=fix))


def origin_of(overrides: tuple[str, ...], is_saved: bool) -> Origin:
    runtime = HydraConfig.get().runtime
    if is_saved:
        source = next(source.path for source in runtime.config_sources if source.provider == "main")
        return Origin(overrides=overrides, path=os.path.join(source, "config.yaml"))
    choices = {group: str(choice) for group, choice in runtime.choices.items() if choice is not None}
    return Origin(choices, overrides)
