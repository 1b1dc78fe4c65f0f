"""The sweep folder: what lies where in it. No other module writes one of these names."""

from __future__ import annotations

from pathlib import Path


class SweepFolder:
    """One sweep's folder, of which any part may be missing.

    The lowest rooms ask it too: what brings a damaged file back, which folders Hydra finds no choices in.

    Args:
        path: of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = path / "sweep.yaml"
        self.study = path / "study.db"
        self.journal = path / "study.journal"
        self.started = path / "study.started"  # when the last call began, for the timeout
        self.trials = path / "trials"
        self.repeats = path / "alone"  # of packed trials that were the best
        self.leaderboard = path / "leaderboard.csv"
        self.best = path / "best.yaml"
        self.status = path / "status.json"
        self.workers = path / "workers"
        self.page = path / "report.html"
        self.markdown = path / "report.md"
        self.pictures = path / "pictures"
        self.confirmation = path / "confirm.json"
        self.label_errors = path / "label-errors.csv"
        self.label_errors_page = path / "label-errors.html"
        self.choices = path / "choices"  # of a confirmation: who is retrained
        self.present = path / "present"  # who works on it right now
        self.opening_lock = path / ".opening.lock"
        self.controller_lock = path / ".controller.lock"
        self.trials_lock = path / ".trials.lock"
        self.journal_lock = path / ".journal.lock"
        self.winner_lock = path / ".winner.lock"

    @classmethod
    def around(cls, trial: Path) -> SweepFolder:
        """Return the folder of the sweep that a trial's folder belongs to."""
        return cls(trial.parent.parent)

    @property
    def confirm(self) -> SweepFolder:
        """The folder of the sweep that confirms this one."""
        return SweepFolder(self.path / "confirm")

    @property
    def is_there(self) -> bool:
        """Whether the folder is a sweep's, with its manifest or without."""
        return any(file.is_file() for file in (self.manifest, self.leaderboard, self.study, self.journal))

    def trial(self, number: int | str) -> Path:
        """Name a trial's folder, which is a run's."""
        return self.trials / str(number)

    def alone(self, number: int | str) -> Path:
        """Name the folder of a packed trial that was the best and was trained once more by itself."""
        return self.repeats / str(number)

    def worker_log(self, index: int) -> Path:
        """Name the log of a worker."""
        return self.workers / f"{index}.log"

    def evaluation(self, suffix: str, ending: str) -> Path:
        """Name a file of what several trials are worth together."""
        return self.path / f"evaluation{suffix}.{ending}"

    def drawn(self) -> list[Path]:
        """Return the report's pictures."""
        return sorted(self.pictures.glob("*.png"))
