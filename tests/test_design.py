"""docs/design.md, the map: every module stands in its tree, and the walk leads to what is there."""

import ast
import re
from pathlib import Path

import typer

from finesweep.commands.cli import app

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "finesweep"
DESIGN = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
# `runs/run.py   run, finish   what it does`, maybe after the number of a step.
STEP = re.compile(r"^\d? +([\w/]+\.py) +([\w.]+(?:, [\w.]+)*)(?: |$)", re.MULTILINE)


def block(start: str) -> str:
    """Return the block of code that begins with a line."""
    _, _, rest = DESIGN.partition(f"```\n{start}")
    assert rest, f"no block begins with {start}"
    return rest.partition("```")[0]


def named_in_tree() -> set[str]:
    """Return the files and folders that the tree names, from src/finesweep."""
    found, room = set(), ""
    for line in block("src/finesweep/").splitlines():
        if head := re.match(r"  (\w+)/", line):
            room, line = head[1], line[head.end() :]
        names = re.findall(r"(?<![\w/])\w+(?:\.py|/(?=\s))", line)
        found |= {name if line.startswith(f"  {name}") else f"{room}/{name}" for name in names}
    return found


def defined_in(file: Path) -> set[str]:
    """Return a module's functions, classes and methods, as `Class.method`."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
    return found


def test_the_tree_names_what_there_is():
    wrong = {name for name in named_in_tree() if not (SOURCE / name).exists()}
    assert wrong == set()


def test_every_module_stands_in_the_tree():
    named = named_in_tree()
    modules = {file.relative_to(SOURCE).as_posix() for file in SOURCE.rglob("*.py") if file.name[:2] != "__"}
    missing = {m for m in modules if m not in named and f"{'/'.join(m.split('/')[:2])}/" not in named}
    assert missing == set()


def test_the_walk_names_functions_where_they_are():
    lines = [line for line in block("python train.py peft=lora").splitlines() if line.strip()]
    steps = [line for line in lines if not line.startswith("python ")]
    assert [line for line in steps if not STEP.match(line)] == []
    wrong = []
    for place, names in STEP.findall("\n".join(steps)):
        file = ROOT / "src" / place if place.startswith("hydra_plugins/") else SOURCE / place
        there = defined_in(file) if file.is_file() else set()
        wrong += [f"{place}: {name}" for name in names.split(", ") if name not in there]
    assert wrong == []


def test_what_the_pages_name_by_room_and_file_is_there():
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    rooms = "|".join(path.name for path in SOURCE.iterdir() if path.is_dir())
    wrong = [
        f"{page.name}: {name}"
        for page in pages
        for name in re.findall(rf"(?<![\w/.-])(?:(?:{rooms})/[\w/]+\.py)", page.read_text(encoding="utf-8"))
        if not (SOURCE / name).is_file() and not name.endswith("/mine.py")  # yet to be written
    ]
    assert wrong == []


def test_every_verb_has_an_example_and_stands_in_the_readme():
    verbs = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [name for name in verbs if not re.search(rf"finesweep {name}\b", readme)]
    silent = [name for name, verb in verbs.items() if f"finesweep {name}" not in str(verb.help)]
    assert (missing, silent) == ([], [])
