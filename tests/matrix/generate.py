"""Write finesweep's capability table: every method of conf/peft/ on a tiny model of every family.

    python tests/matrix/generate.py [--methods lora dora] [--families bert] [--check]

With --methods or --families only that part of the table is measured again. --check writes nothing and fails
where the table says otherwise. Every reason why a method can't do something is printed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import sys
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import contract
import torch

from finesweep.models import capabilities
from finesweep.system.console import quiet_libraries

LIBRARIES = ("peft", "transformers", "torch")


def measure(family: str, methods: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Return what each method can do on a family, and a line for each thing that one can't."""
    warnings.simplefilter("ignore")
    quiet_libraries()
    torch.set_num_threads(1)
    capabilities.table = lambda: {"methods": {}}  # nothing is refused because of what it says
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary, "saved")
        model = contract.make_family(Path(temporary, "model"), family)
        outcomes = {
            (method, problem): contract.exercise(method, model, problem, root / method / problem)
            for method in methods
            for problem in contract.PROBLEMS
        }
        there = [path for path in root.glob("*/*") if (path / "expected.pt").is_file()]
        faults = contract.reloaded(there)
        for (method, problem), outcome in outcomes.items():
            outcome.note_reload(faults.get(str(root / method / problem)))
    lines = [
        f"{family:12} {method:14} {problem:12} {ability}: {reason}"
        for (method, problem), outcome in outcomes.items()
        for ability, reason in outcome.faults.items()
    ]
    return {method: _abilities(method, outcomes) for method in methods}, lines


def _abilities(method: str, outcomes: dict[tuple[str, str], contract.Outcome]) -> list[str]:
    """Return what a method can do on all problems about texts, and whether it can label tokens."""
    texts = [outcomes[method, problem].abilities for problem in contract.PROBLEMS if problem != "tokens"]
    able = set.intersection(*texts)
    if {"train", "reload"} <= outcomes[method, "tokens"].abilities:
        able.add("tokens")
    return [ability for ability in capabilities.ABILITIES if ability in able]


def peft_type(method: str) -> str | None:
    """Return a method's type in peft's words; None for those that are not peft's."""
    kind: Any = getattr(contract.made(method), "peft_type", None)
    return kind.value if kind else None


def main() -> None:
    """Measure, and write or compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", default=list(contract.METHODS))
    parser.add_argument("--families", nargs="+", default=list(contract.FAMILIES))
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    before = json.loads(capabilities.FILE.read_text())["methods"]
    table = {name: {"type": peft_type(name), "families": {}} for name in contract.METHODS}
    for name, method in table.items():
        method["families"] |= before.get(name, {}).get("families", {})
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=spawn) as pool:
        running = {family: pool.submit(measure, family, options.methods) for family in options.families}
        for family, future in running.items():
            abilities, lines = future.result()
            print(*lines, sep="\n", flush=True)
            for method, found in abilities.items():
                table[method]["families"][family] = found
    if options.check:
        differ = [name for name in table if table[name] != before.get(name)]
        raise SystemExit(f"The table says otherwise of {', '.join(differ)}." if differ else None)
    versions = {name: metadata.version(name) for name in LIBRARIES}
    text = json.dumps({"versions": versions, "methods": table}, indent=1)
    capabilities.FILE.write_text(_compact(text) + "\n")


def _compact(text: str) -> str:
    """Put each family on one line."""
    return re.sub(r"\[\s+([^\]]*?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text)


if __name__ == "__main__":
    main()
