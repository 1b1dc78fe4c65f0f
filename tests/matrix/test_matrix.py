"""The capability table says what is so: here for a part of it, all of it with `make test-matrix`."""

import re

import contract
import pytest

from finesweep.models.capabilities import table

pytestmark = [pytest.mark.campaign, pytest.mark.filterwarnings("ignore")]  # peft's advice

# Every method on BERT, every family and problem with LoRA, and pairs that are unlike both.
COVERING = [
    *((method, "bert", "single-label") for method in contract.METHODS),
    *(("lora", family, problem) for family in contract.FAMILIES for problem in contract.PROBLEMS),
    *((method, "modernbert", "pair") for method in ("ia3", "ln-tuning", "bitfit", "prefix-tuning")),
    *((method, "roberta", "tokens") for method in ("pissa", "prompt-tuning", "head-only", "adalora")),
    *((method, "albert", "regression") for method in ("vera", "oft", "none")),
]
CASES = list(dict.fromkeys(COVERING))


@pytest.fixture(scope="session")
def families(tmp_path_factory):
    """Return a tiny model of each family."""
    folder = tmp_path_factory.mktemp("families")
    return {family: contract.make_family(folder / family, family) for family in contract.FAMILIES}


@pytest.fixture(scope="module")
def saved(families, tmp_path_factory):
    """Train and save every case, and return what each showed."""
    root = tmp_path_factory.mktemp("saved")
    outcomes, folders = {}, {}
    for case in CASES:
        method, family, problem = case
        folders[case] = root / family / method / problem
        outcomes[case] = contract.exercise(method, families[family], problem, folders[case])
    there = [folder for folder in folders.values() if (folder / "expected.pt").is_file()]
    faults = contract.reloaded(there)
    for case, folder in folders.items():
        outcomes[case].note_reload(faults.get(str(folder)))
    return outcomes


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_the_table_says_what_is_so(case, saved):
    method, family, problem = case
    listed = set(table()["methods"][method]["families"][family])
    if problem == "tokens" and "tokens" not in listed:
        assert not {"train", "reload"} <= saved[case].abilities
        return
    assert listed - {"tokens"} == saved[case].abilities, saved[case].faults


def test_every_method_and_family_is_in_the_table():
    methods = table()["methods"]
    assert set(methods) == set(contract.METHODS)
    assert all(set(method["families"]) == set(contract.FAMILIES) for method in methods.values())


@pytest.mark.parametrize("method", ["lora", "ln-tuning", "prompt-tuning", "bitfit", "head-only"])
@pytest.mark.parametrize(
    ("part", "trained", "message"),
    [
        (r"embeddings\.LayerNorm\.weight", True, "of the backbone is trained"),
        ("word_embeddings.weight", True, "of the backbone is trained"),
        (r"intermediate\.dense\.", True, "of the backbone is trained"),
        (r"classifier\..*bias", False, "of the head gets no gradient"),
    ],
)
def test_the_contract_sees_what_is_trained_or_frozen_by_mistake(method, part, trained, message, families):
    classifier = contract.load(families["bert"], "single-label")
    adapted = contract.attach(classifier, contract.made(method))
    for name, parameter in adapted.model.named_parameters():
        if re.search(part, name) and "ln_tuning_" not in name:
            parameter.requires_grad_(trained)
    inputs = contract.batch("single-label", classifier)
    labels = inputs.pop("labels")
    with pytest.raises(AssertionError, match=message):
        contract.train(
            adapted, contract.Loss(), inputs, labels, contract.rate(method),
            check=lambda: contract.check_gradients(method, adapted, classifier.fresh_modules),
        )  # fmt: skip
