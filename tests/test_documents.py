"""The documents: their links, the Dockerfile, and what they say to type."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from finesweep.commands.report.record import read_sweep

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks" / "README.md"]
FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)


def prose_of(page):
    """Return a page without its blocks and pieces of code."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))


def anchors_of(page):
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", title).lower()) for title in titles)
    return {title.strip().replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_between_pages_leads_somewhere(page):
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        place, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", place):
            continue
        target = page.parent / place if place else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            dead.append(link)
    assert dead == []


def test_the_dockerfile_copies_what_it_installs_and_installs_what_make_does():
    steps = (ROOT / "Dockerfile").read_text()
    copied = [word for line in re.findall(r"^COPY (.+)$", steps, re.MULTILINE) for word in line.split()[:-1]]
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {project["project"]["readme"], *project["project"]["license-files"], *wheel["force-include"]}
    needed |= {Path(name).parts[0] for name in wheel["packages"]} | {"train.py", "sweeps", "constraints.txt"}
    assert needed | {"pyproject.toml"} == set(copied)
    (python,) = re.findall(r"^FROM python:([\d.]+)", steps, re.MULTILINE)
    assert project["project"]["requires-python"] == f">={python}"
    (command,) = re.findall(r"^RUN (pip install .+)$", steps, re.MULTILINE)
    words = [word for word in shlex.split(command) if word != "--no-cache-dir"]
    made = re.findall(
        r"\$\(BIN\)/(pip install -q -c constraints.txt -e '\.\[demo\]')", (ROOT / "Makefile").read_text()
    )
    assert words == [word for word in shlex.split(made[0]) if word != "-q"]


def test_the_sweeper_serves_the_hydra_application_of_its_page(tmp_path):
    section = (ROOT / "docs" / "sweeps.md").read_text().partition("## Any Hydra application")[2]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (config,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    (command,) = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)
    (tmp_path / "app.py").write_text(code)
    (tmp_path / "app.yaml").write_text(config)
    words = [sys.executable, *shlex.split(command)[1:], "hydra.sweeper.n_jobs=1"]
    ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    values = [trial.value for trial in read_sweep(tmp_path / "search").trials]
    assert len(values) == 6
    assert min(values) <= 2.0 == values[0]  # the config as it stands is tried first


@pytest.mark.parametrize(
    ("line", "completed"),
    [("python train.py peft=lor", {"peft=lora", "peft=lora-plus"}), ("finesweep repr", {"reproduce"})],
)
def test_tab_completes_as_the_readme_says(tmp_path, line, completed):
    """In a bash that has typed the README's line."""
    text = (ROOT / "README.md").read_text()
    program = line.split()[0]
    (install,) = re.findall(rf'^(eval "\$\({program} [^"]+\)")', text, re.MULTILINE)
    words = line.split()
    script = f"""
        {install}
        COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; COMP_LINE='{line}'; COMP_POINT={len(line)}
        $(complete -p {program} | sed 's/.* -F \\([^ ]*\\).*/\\1/') {program}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["bash", "--norc", "-c", script]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert set(ended.stdout.split()) == completed, ended.stderr
