"""What one may want to do after a run, as commands that work when they are pasted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finesweep.config.origin import Origin
from finesweep.config.trust import to_vouch_for
from finesweep.runs.layout import RunFolder
from finesweep.system.paths import relative_to_here
from finesweep.system.places import config_folder
from finesweep.system.programs import finesweep_words, train_words
from finesweep.system.redaction.words import masked_command


def next_steps(folder: RunFolder, config: Mapping[str, Any], origin: Origin) -> dict[str, str]:
    """Return commands by what they are for.

    Args:
        folder: of a finished run.
        config: the run's, as plain values.
        origin: where its values came from: the search takes the run's own words.
    """
    path = str(relative_to_here(folder.path))
    trust = [word for name in to_vouch_for(config) for word in ("--trust", name)]
    saved = ["--config-path", path, "--config-name", "config", f"seed={config['seed'] + 1}"]
    steps = {
        "repeat it": [*finesweep_words(), "reproduce", path, *trust],
        "vary it": [*train_words(), *saved, *trust],
    }
    if _has_space(origin):
        steps["search"] = [*train_words(), "-m", *origin.options, *origin.overrides]
    return {purpose: masked_command(words) for purpose, words in steps.items()}


def _has_space(origin: Origin) -> bool:
    """Whether there are axes for `-m` without naming any; a saved config has none."""
    places = [config_folder(), *map(Path, origin.options[1:])]
    file = Path("sweeps", f"{origin.choices.get('sweeps')}.yaml")
    return any((place / file).is_file() for place in places)
