"""Every shipped config file composes, checks, and says how to call it."""

import re
from itertools import zip_longest

import pytest

from composing import compose_config
from finesweep.config.check import check
from finesweep.config.saved import CIRCUMSTANCES
from finesweep.system.places import config_folder
from finesweep.training.checkpoints import DECISIVE

GROUPS = ("data", "tokenizer", "model", "peft", "trainer", "tracker", "experiment")
CHOICES = [
    (group, file.stem) for group in GROUPS for file in sorted((config_folder() / group).glob("*.yaml"))
]
REQUIRED = {
    "csv": ["data.source.train=FILE"],
    "hub": ["data.source.path=owner/name"],
    "text-folders": ["data.source.path=FOLDER"],
    **{name: ["data.source.train=FILE"] for name in ("tsv", "json", "parquet", "arrow")},
    "pandas": ["data.source.reader=read_csv", "data.source.train=FILE"],
    "polars": ["data.source.reader=scan_csv", "data.source.train=FILE"],
    "sql": ["data.source.url=sqlite:///rows.db", "data.source.train=rows"],
    "torch-dataset": ["data.source.train._target_=torch.utils.data.TensorDataset"],
    "python": ["data.source.function=json.loads", "+data.source.s=x"],
    "local": ["model.name=FOLDER"],
    "custom": ["data.source._target_=finesweep.data.sources.csv", "+data.source.train=FILE"],
}


# One choice of each group at a time, of which an experiment has its own: half as many configs to compose.
GROUPED = [[one for one in CHOICES if one[0] == group] for group in GROUPS if group != "experiment"]
ROWS = [*zip_longest(*GROUPED), *([one] for one in CHOICES if one[0] == "experiment")]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(choice for _, choice in filter(None, row)))
def test_every_choice_composes_and_checks(row, tmp_path):
    file, folder = tmp_path / "rows.csv", tmp_path / "texts"
    file.touch()
    folder.mkdir()
    words = []
    for group, choice in filter(None, row):
        required = REQUIRED.get(choice, []) if group in ("data", "model") else []
        words += [f"{group}={choice}", *required]
    filled = [word.replace("FILE", str(file)).replace("FOLDER", str(folder)) for word in words]
    config = check(compose_config(*filled), online=False)
    assert config["seed"] == 0


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_says_how_to_call_it(group, choice):
    lines = (config_folder() / group / f"{choice}.yaml").read_text().splitlines()
    command = next(line for line in lines if not line.startswith("# @package"))
    assert re.match(rf"# python train\.py .*{group}={choice}\b", command)


# Parameters, time or memory: what a method's header must speak of.
COST = re.compile(
    r"parameters|trained numbers|\bcosts\b|[Ss]low|step|decomposition|inverse transform|gets longer|saved",
    re.IGNORECASE,
)
NO_PAPER = ("head-only", "none")


METHODS = sorted(file.stem for file in (config_folder() / "peft").glob("*.yaml"))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_its_paper_its_rate_and_what_it_costs(method):
    text = (config_folder() / "peft" / f"{method}.yaml").read_text()
    summary, *more = [line for line in text.splitlines() if line.startswith("# ")][2:]
    assert method in NO_PAPER or re.search(r"arXiv:\d{4}\.\d{5}|openreview\.net/forum\?id=\w+", summary), (
        summary
    )
    assert COST.search(" ".join(more)), more
    assert re.search(r"^  learning_rate: \d", text, re.MULTILINE)


def test_every_method_has_a_search_space_of_its_name():
    assert set(METHODS) <= {file.stem for file in (config_folder() / "sweeps").glob("*.yaml")}


def test_choices_of_different_groups_combine():
    config = check(compose_config("peft=none", "model=bert-base", "data=glue-sst2"), online=False)
    assert config["model"]["name"] == config["tokenizer"]["name"] == "google-bert/bert-base-uncased"
    assert config["data"]["source"]["splits"] == {"train": "train", "validation": None, "test": "validation"}
    assert (
        config["trainer"]["learning_rate"] < check(compose_config(), online=False)["trainer"]["learning_rate"]
    )


def test_lora_deep_searches_the_ratio_of_alpha_to_the_rank():
    assert compose_config("sweeps=lora-deep").peft == compose_config("sweeps=lora").peft  # trial 0
    config = compose_config("sweeps=lora-deep", "peft.r=32", "alpha_ratio=4")
    assert check(config)["peft"]["lora_alpha"] == 128


def test_every_key_decides_the_weights_or_the_objective_or_is_a_circumstance():
    keys = set(compose_config()) - {"hydra"}
    assert keys == {*DECISIVE, *CIRCUMSTANCES, "objective"}
    assert not set(DECISIVE) & set(CIRCUMSTANCES)
