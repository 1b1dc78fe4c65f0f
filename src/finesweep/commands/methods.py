"""`finesweep methods`: which methods there are, and what each can do on which family of encoders."""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path

from finesweep.errors import ConfigError, Fault, nearest
from finesweep.models.capabilities import table
from finesweep.system.console import make_console
from finesweep.system.paths import PACKAGE_SCHEME, input_path
from finesweep.system.places import config_folder
from finesweep.system.tables import aligned

# What is shown for the abilities that a method has beside training and coming back from its file.
MARKS = {
    ("merge", "tokens"): "+",
    ("tokens",): "u",
    ("merge",): "t",
    (): "x",
}
LEGEND = """\
+ everything   u can't be merged   t texts, not tokens
x texts, and can't be merged   - not at all"""
COLUMN, WIDTH = 4, 80
# The family of each file of conf/model, as its model's config.json says it; `local` has none of its own.
CHOICES = {
    "albert-base": "albert",
    "bert-base": "bert",
    "bert-large": "bert",
    "bert-tiny": "bert",
    "camembert-base": "camembert",
    "deberta-v3-base": "deberta-v2",
    "deberta-v3-small": "deberta-v2",
    "distilbert": "distilbert",
    "electra-base": "electra",
    "electra-small": "electra",
    "eurobert-210m": "eurobert",
    "from-config": "bert",
    "minilm": "bert",
    "modernbert-base": "modernbert",
    "modernbert-large": "modernbert",
    "mpnet-base": "mpnet",
    "roberta-base": "roberta",
    "roberta-large": "roberta",
    "xlm-roberta-base": "xlm-roberta",
}


@dataclass(frozen=True)
class Method:
    """A file of conf/peft/.

    Args:
        name: of the file.
        summary: the first line that it says about itself: name, paper, idea.
        families: for each family that was measured, the abilities; empty for a method that wasn't.
    """

    name: str
    summary: str
    families: dict[str, list[str]]

    def mark(self, family: str) -> str:
        """Return one character for what the method can do on a family; a space where nobody knows."""
        if family not in self.families:
            return " "
        abilities = self.families[family]
        if "train" not in abilities or "reload" not in abilities:
            return "-"
        return MARKS[tuple(name for name in ("merge", "tokens") if name in abilities)]


def methods() -> list[Method]:
    """Return the methods that are shipped, by name."""
    measured = table()["methods"]
    files = sorted((config_folder() / "peft").glob("*.yaml"))
    return [
        Method(file.stem, _summary(file), measured.get(file.stem, {}).get("families", {})) for file in files
    ]


def family_of(model: str) -> str:
    """Return the family of a model's choice, folder or hub name, or the family itself.

    Args:
        model: a file of conf/model/, a folder, a hub name that is in the cache, or a family such as bert.

    Raises:
        ConfigError: nobody knows it here.
    """
    known = {**{family: family for family in _families()}, **CHOICES}
    if model in known:
        return known[model]
    if model == "local":
        rule = "It stands for any folder, and each has a family of its own."
        raise ConfigError(Fault("--model", rule, model, fix="Name the folder: --model FOLDER."))
    if found := _config_file(model):
        return json.loads(found.read_text())["model_type"]
    rule = f"Its config.json isn't on this machine. {nearest(model, known)}".strip()
    raise ConfigError(Fault("--model", rule, model, valid=tuple(_families()), fix="Name its family."))


def show(model: str | None) -> None:
    """Print a table for every family, or a list for the family of one model.

    Raises:
        ConfigError: no such model or family.
    """
    console = make_console()
    found = methods()
    if model is None:
        families = _families()
        rows = [(method.name, *map(method.mark, families)) for method in found]
        lines = aligned([("", *map(_short, families)), *rows], right=range(1, len(families) + 1), gap=1)
        console.print("\n".join(lines), markup=False)
        short = ", ".join(f"{_short(family)} {family}" for family in families if len(family) > COLUMN)
        console.print(f"\n{LEGEND}\n{textwrap.fill(short, WIDTH)}", markup=False)
        console.print(f"Seen with {_versions()}.", markup=False)
        return
    family = family_of(model)
    if family not in _families():
        console.print(f"Nobody has tried the methods on a {family} yet; all may be tried.", markup=False)
    rows = [(method.mark(family), method.name, method.summary) for method in found]
    console.print("\n".join(aligned(rows)), markup=False)
    console.print(f"\n{LEGEND}\nOn a {family}, seen with {_versions()}.", markup=False)


def as_json(model: str | None) -> str:
    """Return the table, or one family's part of it, as JSON."""
    families = _families() if model is None else [family_of(model)]
    content = {
        method.name: {
            "summary": method.summary,
            "families": {family: method.families.get(family) for family in families},
        }
        for method in methods()
    }
    return json.dumps({"versions": table()["versions"], "methods": content}, indent=1)


def _families() -> list[str]:
    return list(dict.fromkeys(name for method in table()["methods"].values() for name in method["families"]))


def _summary(file: Path) -> str:
    """Return the line after that with the command."""
    lines = [line.removeprefix("# ") for line in file.read_text().splitlines() if line.startswith("# ")]
    command = next(i for i, line in enumerate(lines) if line.startswith("python train.py"))
    return lines[command + 1]


def _config_file(name: str) -> Path | None:
    folder = input_path(name) if name.startswith(PACKAGE_SCHEME) else Path(name).expanduser()
    if folder.is_dir():
        return file if (file := folder / "config.json").is_file() else None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json") if name.count("/") == 1 else None
    return Path(found) if isinstance(found, str) else None


def _short(family: str) -> str:
    return "".join(character for character in family if character.isalnum())[:COLUMN]


def _versions() -> str:
    return ", ".join(f"{name} {version}" for name, version in table()["versions"].items())
