"""The house: which room may import which, and no circle anywhere."""

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "finesweep"
MOST_PACKAGES = 12
MOST_FLOORS = 13  # of what stands in src/finesweep
MOST_FILE_FLOORS = 27  # of files; as of today, and may only go down
MOST_LATE = 40  # imports in functions, which keep heavy libraries out of a light path
TOP = ("errors.py", "__init__.py", "__main__.py")


def name_of(file: Path) -> str:
    parts = ("finesweep", *file.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in sorted(SOURCE.rglob("*.py"))}


def imports_of(node: ast.AST, *, late: bool = False) -> Iterator[tuple[str, int, bool]]:
    """Yield module, line and whether it stands in a function, for each import of finesweep's own."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ImportFrom) and (child.module or "").partition(".")[0] == "finesweep":
            for alias in child.names:
                inner = f"{child.module}.{alias.name}"
                yield inner if inner in MODULES else str(child.module), child.lineno, late
        elif isinstance(child, ast.Import):
            names = (alias.name for alias in child.names if alias.name.partition(".")[0] == "finesweep")
            yield from ((name, child.lineno, late) for name in names)
        else:
            yield from imports_of(child, late=late or isinstance(child, ast.FunctionDef))


@cache
def arrows() -> tuple[tuple[str, str, int, bool], ...]:
    """Return every import, as (module, imported module, line, whether it stands in a function)."""
    trees = {name: ast.parse(file.read_text()) for name, file in MODULES.items()}
    return tuple((name, *found) for name, tree in trees.items() for found in imports_of(tree))


def room_of(module: str) -> str:
    inner = module.split(".")[1:2]
    if inner == ["errors"]:
        return "system"
    return inner[0] if inner and inner != ["__main__"] else "commands"


def unit_of(module: str) -> str:
    """Return the room that holds a module; or the module itself, where it stands above them all."""
    return room_of(module) if "." in module and module != "finesweep.__main__" else module


def allowed() -> dict[str, set[str]]:
    """Read the table of docs/design.md."""
    _, _, table = (ROOT / "docs" / "design.md").read_text().partition("| room | may import |\n|---|---|\n")
    rows = re.findall(r"^\| (\w+) \|(.*)\|$", table.partition("\n\n")[0], re.MULTILINE)
    return {room: set(re.findall(r"\w+", names)) for room, names in rows}


def test_a_room_imports_what_the_table_says_and_nothing_else():
    table = allowed()
    wrong = [
        f"{source}:{line} imports {target}"
        for source, target, line, _ in arrows()
        if room_of(target) not in table[room_of(source)] | {room_of(source)}
    ]
    assert wrong == []
    used = {(room_of(source), room_of(target)) for source, target, *_ in arrows()}
    assert {room for room, _ in used} | {room for _, room in used} == set(table)


def test_no_room_stands_above_one_that_it_is_imported_by():
    below: set[str] = set()
    for room, names in allowed().items():
        assert names <= below, f"{room} may import what stands above it"
        below.add(room)


def floors_of(arrows: Iterable[tuple[str, str]]) -> int:
    """Return on how many floors they stand, each one above all that it imports; fail at a circle."""
    graph: dict[str, set[str]] = {}
    for source, target in arrows:
        graph.setdefault(target, set())
        graph.setdefault(source, set()).add(target)
    floors: dict[str, int] = {}
    while len(floors) < len(graph):
        ready = [name for name, below in graph.items() if name not in floors and below <= set(floors)]
        assert ready, f"in or above a circle: {sorted(set(graph) - set(floors))}"
        floors |= {name: 1 + max((floors[other] for other in graph[name]), default=0) for name in ready}
    return max(floors.values())


def test_no_import_between_files_runs_in_a_circle():
    assert floors_of((source, target) for source, target, *_ in arrows()) <= MOST_FILE_FLOORS


def test_the_rooms_stand_on_few_floors():
    between = ((unit_of(source), unit_of(target)) for source, target, *_ in arrows())
    assert floors_of((above, below) for above, below in between if above != below) <= MOST_FLOORS


def test_late_imports_get_no_more():
    late = {(source, line) for source, _, line, is_late in arrows() if is_late}
    assert len(late) <= MOST_LATE


def test_at_the_top_are_packages_and_three_files():
    here = [path for path in SOURCE.iterdir() if path.name != "__pycache__"]
    assert sorted(path.name for path in here if path.is_file()) == sorted(TOP)
    assert len([path for path in here if path.is_dir()]) <= MOST_PACKAGES
    assert {path.name for path in here if path.is_dir()} == set(allowed())


def test_no_test_imports_another():
    files = list(Path(__file__).parent.rglob("*.py"))
    tests = {file.stem for file in files if file.stem.startswith("test_")}
    found = [
        f"{file.name}:{node.lineno}"
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        for name in names_of(node)
        if tests & set(name.split("."))
    ]
    assert found == []


def names_of(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or "", *(alias.name for alias in node.names)]
    return []


def test_a_class_name_stands_for_one_thing():
    named: dict[str, list[str]] = {}
    for module, file in MODULES.items():
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef):
                named.setdefault(node.name, []).append(module)
    # A metric has one name, and a class of that name for each problem type.
    twice = {name: modules for name, modules in named.items() if len(modules) > 1}
    elsewhere = [m for modules in twice.values() for m in modules if not m.startswith("finesweep.metrics.")]
    assert elsewhere == [], twice
