"""The end of a sweep: its winner tested, its leaderboard written, what came out on the screen."""

from __future__ import annotations

import logging
import shlex
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from finesweep.config.trust import ENVIRONMENT, GUARDED_KEYS, STORAGE, targets_in
from finesweep.errors import Fault, FinesweepError
from finesweep.runs.leaderboard import final_folder
from finesweep.runs.outcome import with_half_width
from finesweep.sweeps.attributes import ERROR
from finesweep.sweeps.counting import num_ended
from finesweep.sweeps.display import params_text
from finesweep.sweeps.finalists import sentence
from finesweep.sweeps.plan import CONFIRM, Plan
from finesweep.sweeps.results import (
    front_of,
    pruned,
    ranked,
    repeats_of,
    trial_result,
    write_best,
    write_leaderboard,
)
from finesweep.sweeps.stopping import out_of_time, should_stop, too_many_failures
from finesweep.sweeps.study import Study
from finesweep.sweeps.verdict import Verdict, verdict_of
from finesweep.sweeps.winner import evaluate_winner
from finesweep.system.console import show_summary
from finesweep.system.files import disk_full_error
from finesweep.system.paths import relative_to_here, typed
from finesweep.system.programs import finesweep_words, train_words

logger = logging.getLogger(__name__)

SHOWN_ERRORS = 5
TOP = 5


def finish(plan: Plan, study: Study, write_report: Callable[..., Path]) -> None:
    """Write what a sweep leaves beside its trials, and say what to do next.

    Args:
        plan: the sweep.
        study: its trials, all ended.
        write_report: called with the folder once its results are written.

    Raises:
        FinesweepError: no trial was completed, or too many failed.
    """
    order, trials = ranked(study), study.trials()
    failures = too_many_failures(plan, trials)
    if not order or failures:
        write_leaderboard(plan, study)
        late = out_of_time(plan, study.trials())
        nothing = f"No trial was completed: {late}" if late else "No trial was completed"
        raise FinesweepError(*_failures(plan, study, failures or nothing))
    if plan.settings.purpose == CONFIRM:  # finesweep.commands.confirm says what came out
        write_leaderboard(plan, study)
        study.note_end(num_ended(trials))
        return
    verdict = verdict_of(plan.files, study.optuna, plan.default)
    path = write_best(plan, order[0], front_of(study.optuna), str(verdict or ""))
    evaluate_winner(plan, study)  # unless a worker has
    write_leaderboard(plan, study, verdict.told_apart if verdict else None)
    report = _report(plan, write_report, verdict)
    study.note_end(num_ended(trials))
    _show(plan, study, order, should_stop(plan, study.trials()), path, report, verdict)


def continuation(plan: Plan) -> str:
    """Say how a sweep that was cut off goes on."""
    if plan.settings.purpose == CONFIRM:
        return f"Continue: finesweep confirm {typed(plan.folder.parent)}"
    return f"Continue: finesweep resume {typed(plan.folder)}"


def _failures(plan: Plan, study: Study, reason: str) -> list[Fault]:
    errors = Counter(trial.user_attrs.get(ERROR, "no reason was recorded") for trial in study.trials("FAIL"))
    hint = "Tracebacks are in trials/<number>/error.txt." if errors else continuation(plan)
    faults = [Fault(str(relative_to_here(plan.folder)), f"{reason}.", fix=hint)]
    faults += [Fault(f"{count} trials", error) for error, count in errors.most_common(SHOWN_ERRORS)]
    return faults


def _report(plan: Plan, write_report: Callable[..., Path], verdict: Verdict | None) -> Path | None:
    """Write the report, without its pictures, which take matplotlib's time to start."""
    try:
        # The storage is the user's own choice here: this command line has just named it.
        trusted = {*targets_in(plan.settings.storage), *GUARDED_KEYS, STORAGE, ENVIRONMENT}
        storage = plan.settings.storage
        return write_report(plan.folder, trusted, pictures=False, storage=storage, verdict=verdict)
    except Exception as error:  # the search is done and its results stand
        if full := disk_full_error(error, plan.folder):
            raise full from error
        logger.exception("The report could not be made:")
        return None


def _show(
    plan: Plan,
    study: Study,
    order: list[Any],
    reason: str,
    best_path: Path | None,
    report: Path | None,
    verdict: Verdict | None,
) -> None:
    counts = Counter(trial.state.name for trial in study.trials())
    folder = typed(plan.folder)
    front, repeats = front_of(study.optuna), repeats_of(order)
    rows = {}
    if verdict:
        rows["verdict"], *others = verdict.sentences
        rows |= {"others": " ".join(others)} if others else {}
    rows["trials"] = ", ".join(f"{count} {state.lower()}" for state, count in counts.items())
    if said := sentence(plan, study.trials()):
        rows["finalists"] = said
    if reason:
        rows["stopped"] = reason
    for place, trial in enumerate([*order, *pruned(study)][:TOP], start=1):
        value = _with_width(plan, trial, " / ".join(f"{v:.4f}" for v in trial.values))
        note = f" (pruned after {len(trial.intermediate_values)})" if trial.state.name == "PRUNED" else ""
        note = " (Pareto front)" if trial.number in front else note
        if trial.number in repeats:
            note = f" ({repeats[trial.number]})"
        rows[f"{place}."] = f"{value}  trial {trial.number}: {params_text(trial.params)}{note}"
    final = final_folder(plan.files, order[0].number)
    result = trial_result(final)
    tested = result.get("metrics", {})
    shown = {name.removeprefix("test/"): v for name, v in tested.items() if name.startswith("test/")}
    if shown:
        rows["test"] = (
            ", ".join(
                with_half_width(f"{name} {v:.4f}", result, name, "test")
                for name, v in shown.items()
                if "/" not in name
            )
            + " (the winner)"
        )
    if final != plan.trial_folder(order[0].number):
        value = trial_result(final)["objective"]["value"]
        rows["repeated"] = f"{value:.4f}  trial {order[0].number}, trained once more alone: what is tested"
    rows["folder"] = str(relative_to_here(plan.folder))
    commands = {}
    if best_path:
        again, finesweep = shlex.join(train_words()), shlex.join(finesweep_words())
        commands[f"run trial {order[0].number}" if front else "run the best"] = (
            f"{again} --config-path {folder} --config-name best"
        )
        commands["repeat it"] = f"{finesweep} reproduce {typed(final)}"
        if len(plan.settings.directions) == 1:
            commands["confirm it"] = f"{finesweep} confirm {folder}"
    commands["all trials"] = typed(plan.files.leaderboard)
    if report:
        commands["figures"] = typed(plan.files.page)
    show_summary(f"{plan.study_name}: {_what_is_shown(order, front)}", rows, commands)


def _with_width(plan: Plan, trial: Any, value: str) -> str:
    """Add the half-width of a trial's interval, where there is one objective and its run has one."""
    result = trial_result(plan.trial_folder(trial.number)) if len(trial.values) == 1 else {}
    return with_half_width(value, result, result["objective"]["metric"]) if result else value


def _what_is_shown(order: list[Any], front: Collection[int]) -> str:
    if front:
        return f"Pareto front of {len(front)} among {len(order)} complete trials"
    if len(order) == 1:
        return f"trial {order[0].number} alone is complete"
    return f"best of {len(order)} complete trials"
