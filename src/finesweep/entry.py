"""The command line of `python train.py` and `finesweep train`: Hydra's, with errors one can act on."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from finesweep import distributed
from finesweep.config import Origin, register_resolvers
from finesweep.console import be_verbose, show_error
from finesweep.errors import ConfigError, Fault, FinesweepError, Interrupted
from finesweep.hydra_versions import hide_choices, main_options
from finesweep.paths import FOREIGN_SWEEPS, config_folder
from finesweep.process import end_quickly
from finesweep.redaction import redact_tracebacks, redacted_output, remember
from finesweep.redaction.words import typed_secrets
from finesweep.rundir import disk_full_error
from finesweep.trackers.choice import spelled_out

T = TypeVar("T")

# How Hydra complains of `group=null`: a plain ValueError.
NULL_GROUP = "Config group override must be a string or a list"
# Of this process's command line; a sweep's workers have none.
_options: dict[str, Any] = {"is_saved": False, "trusted": ()}


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
    remember(typed_secrets(words))
    _options.update(is_saved=is_saved, trusted=trusted)
    if is_saved:
        check_primary_config(words, trusted)
    with redacted_output():
        with_repairs(_call_hydra, words)


def job(config: DictConfig) -> float | list[float]:
    """Execute one composed config: a single run, or the current trial of a sweep.

    Returns:
        The objective; one value for each objective where a sweep has several.
    """
    from finesweep.sweep.trial import current_trial

    trial = current_trial()
    if trial is not None:
        from finesweep.sweep.job import run_trial

        return run_trial(config, trial)
    from finesweep.anchoring import anchored_saved, working_in
    from finesweep.diagnosis import check_optional_choices
    from finesweep.runner import run
    from finesweep.trust import check_trusted

    is_saved = bool(_options["is_saved"])
    with reported_errors():
        if is_saved:
            check_trusted(config, _options["trusted"])
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
        if distributed.is_main():  # the others make the same mistake
            show_error(error)
        sys.exit(error.exit_code)
    except RuntimeError as error:
        if not distributed.is_main() and distributed.is_lost_peer(error):
            sys.exit(1)  # what went wrong is the other's to say
        raise
    except OSError as error:
        full = disk_full_error(error, Path.cwd())
        if full is None:
            raise
        show_error(full)
        sys.exit(full.exit_code)
    except Interrupted as interruption:
        sys.exit(128 + interruption.signal_number)
    except KeyboardInterrupt:
        sys.exit(130)


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
        from finesweep.diagnosis import repair

        return compose(repair(list(words), error))


def _call_hydra(words: Sequence[str]) -> None:
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us instead of to Hydra's own printer
    hide_choices(FOREIGN_SWEEPS)
    typed, sys.argv = sys.argv, [sys.argv[0], *words]
    try:
        hydra.main(config_path=str(config_folder()), config_name="train", **main_options())(job)()
    finally:
        sys.argv = typed


def check_primary_config(words: Sequence[str], trusted: Sequence[str]) -> None:
    from hydra._internal.utils import get_args_parser

    from finesweep.trust import check_trusted_file

    arguments, _ = get_args_parser().parse_known_args(list(words))
    check_trusted_file(Path(arguments.config_path, f"{arguments.config_name or 'train'}.yaml"), trusted)


def own_options(words: list[str]) -> tuple[list[str], tuple[str, ...], bool]:
    """Take `--trust NAME` and `-v` out, make `--config-path` absolute, and say whether it was there.

    A list of trackers is spelled out; a file that Hydra sees as a choice and that is none is refused.
    """
    rest: list[str] = []
    trusted: list[str] = []
    is_saved = False
    pending = iter(words)
    for word in pending:
        option, has_value, value = word.partition("=")
        if option in ("--trust", "--config-path", "-cp"):
            value = value if has_value else next(pending, "")
            if option == "--trust":
                trusted.append(value)
            else:
                rest += ["--config-path", os.path.abspath(os.path.expanduser(value))]
                is_saved = True
        elif word in ("-v", "--verbose"):
            be_verbose()
        elif word in ("-m", "--multirun"):
            rest.insert(0, word)  # Hydra's parser wants all overrides in one piece
        else:
            rest.append(word)
    _refuse_foreign(rest)
    return rest if is_saved else [*spelled_out(rest)], tuple(trusted), is_saved


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
