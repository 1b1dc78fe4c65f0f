"""Metrics that are functions of the user's own, from the config to the result."""

import pytest
from omegaconf import OmegaConf

from composing import compose_config
from finesweep.commands.evaluate.command import evaluate
from finesweep.config.check import check
from finesweep.config.origin import Origin
from finesweep.config.trust import strangers
from finesweep.errors import ConfigError, ForeignError
from finesweep.metrics import direction_of, metric_names

CODE = """
def cost(predictions, references, miss=1.0):
    return miss * sum(a != b for a, b in zip(predictions, references)) / len(references)


def confidence(probabilities, _references):
    return probabilities.max(axis=1).mean()


def broken(predictions, references):
    raise RuntimeError("no idea")
"""
MODULE = """
import datasets
import evaluate


class Agreement(evaluate.Metric):
    def _info(self):
        features = datasets.Features(dict.fromkeys(("predictions", "references"), datasets.Value("int64")))
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references, factor=1.0):
        share = sum(a == b for a, b in zip(predictions, references)) / len(references)
        return {"agreement": factor * share, "rows": len(references)}
"""
COST = "{_target_: own_metrics_here.cost, direction: minimize, miss: 2.0}"


@pytest.fixture(autouse=True)
def code(tmp_path, monkeypatch):
    (tmp_path / "own_metrics_here.py").write_text(CODE)
    (tmp_path / "modules" / "agreement").mkdir(parents=True)
    (tmp_path / "modules" / "agreement" / "agreement.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def test_it_is_measured_optimised_and_evaluated(finished, few_resamples, tmp_path):
    sure = "{_target_: own_metrics_here.confidence, reads: probabilities, name: sure}"
    words = (
        f"data.metrics=[accuracy,{COST},{sure}]",
        "objective.metric=cost",
        "objective.direction=minimize",
    )
    result = finished(*words)
    assert result.objective == result.metrics["validation/cost"]
    assert result.metrics["test/cost"] == pytest.approx(2 * (1 - result.metrics["test/accuracy"]))
    assert 1 / 3 < result.metrics["test/sure"] <= 1
    assert direction_of("cost") == "minimize"
    trusted = ("own_metrics_here.cost", "own_metrics_here.confidence")
    found = evaluate(result.folder, trusted=trusted, as_json=True)
    assert found.metrics["cost"].value == pytest.approx(result.metrics["test/cost"])
    with pytest.raises(ConfigError, match=r"--trust own_metrics_here\.confidence"):
        evaluate(result.folder, as_json=True)


def test_the_next_config_knows_nothing_of_it():
    check(compose_config(f"data.metrics=[accuracy,{COST}]"), online=False)
    assert "cost" in metric_names()
    check(compose_config(), online=False)
    assert "cost" not in metric_names()


@pytest.mark.parametrize(
    ("entry", "where", "rule"),
    [
        ("{_target_: own_metrics_here.cots}", "data.metrics[0]._target_", "Did you mean `cost`?"),
        ("{_target_: own_metrics_here.cost, mis: 2}", "data.metrics[0].mis", "Did you mean `miss`?"),
        (
            "{_target_: own_metrics_here.cost, direction: down}",
            "data.metrics[0].direction",
            "one of the names",
        ),
        ("{_target_: own_metrics_here.cost, name: accuracy}", "data.metrics[0].name", "give it another"),
        ("{_target_: evaluate.load}", "data.metrics[0].path", "needs it"),
        (
            "{_target_: evaluate.load, path: ./modules}",
            "data.metrics[0].path",
            "no metric script modules/modules.py",
        ),
        ("{name: cost}", "data.metrics[0]._target_", "names its function"),
    ],
)
def test_a_mistake_in_it_is_named(entry, where, rule):
    words = (f"data.metrics=[{entry}]",)
    with pytest.raises(ConfigError) as caught:
        check(compose_config(*words), Origin(overrides=words), online=False)
    (fault,) = caught.value.faults
    assert fault.where == where
    assert rule in fault.rule


def test_the_direction_of_the_objective_is_held_against_its_own():
    words = (f"data.metrics=[{COST}]", "objective.metric=cost")
    with pytest.raises(ConfigError, match="lower is better"):
        check(compose_config(*words), Origin(overrides=words), online=False)


def test_a_stranger_s_is_never_called():
    config = compose_config(f"data.metrics=[{COST}]")
    with strangers(()), pytest.raises(ConfigError, match=r"--trust own_metrics_here\.cost"):
        check(config, online=False)


def test_one_that_raises_is_shown_with_its_own_frames(finished):
    with pytest.raises(ForeignError, match="no idea") as caught:
        finished("data.metrics=[accuracy,{_target_: own_metrics_here.broken}]")
    assert "own_metrics_here.py" in str(caught.value)


def test_a_module_of_evaluate_s_is_measured_and_found_from_elsewhere(
    finished, few_resamples, tmp_path, monkeypatch
):
    half = "{_target_: evaluate.load, path: modules/agreement, factor: 0.5}"
    result = finished(f"data.metrics=[accuracy,{half}]", "objective.metric=agreement")
    assert result.objective == pytest.approx(result.metrics["validation/accuracy"] / 2)
    saved = OmegaConf.load(result.folder / "config.yaml").data.metrics[1]
    assert saved.path == str(tmp_path / "modules" / "agreement")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"--trust evaluate\.load"):
        evaluate(result.folder, as_json=True)
    found = evaluate(result.folder, trusted=("evaluate.load",), as_json=True)
    assert found.metrics["agreement"].value == pytest.approx(result.metrics["test/agreement"])


def test_which_number_of_a_module_counts_is_asked(finished):
    with pytest.raises(ConfigError, match="agreement, rows"):
        finished("data.metrics=[accuracy,{_target_: evaluate.load, path: modules/agreement, name: share}]")
    assert finished(
        "data.metrics=[accuracy,{_target_: evaluate.load, path: modules/agreement, name: rows}]"
    ).metrics["validation/rows"]


def test_a_stranger_s_module_is_never_loaded(tmp_path):
    config = compose_config(f"data.metrics=[{{_target_: evaluate.load, path: {tmp_path}/modules/agreement}}]")
    with strangers(()), pytest.raises(ConfigError, match=r"--trust evaluate\.load"):
        check(config, online=False)
