"""Every metric against numbers worked out by hand or by another library."""

import itertools
import math
import subprocess
import sys

import evaluate
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from sklearn import metrics as sklearn_metrics
from torch.nn import functional

from finesweep.data.labels import MULTI, REGRESSION, SINGLE, TOKENS, LabelSchema
from finesweep.data.spans import find_spans
from finesweep.errors import ConfigError
from finesweep.metrics import (
    METRICS,
    baseline,
    compute_metrics,
    default_metrics,
    direction_of,
    main_metric,
    mean_loss,
    metric_names,
    objective_names,
    tune_thresholds,
)
from finesweep.metrics import computation as metric_computation
from finesweep.metrics.scores import Scored

PROBLEM_TYPES = (SINGLE, MULTI, REGRESSION, TOKENS)


def schema(problem_type: str, *names: str) -> LabelSchema:
    return LabelSchema(names, names, problem_type)


def single(probabilities, truth) -> Scored:
    table = np.array(probabilities)
    return Scored(table.argmax(axis=-1), np.array(truth), table)


def compute(scored: Scored, problem_type: str, *names: str, only: str = "") -> dict[str, float]:
    chosen = [only] if only else metric_names(problem_type)
    return compute_metrics(chosen, scored, schema(problem_type, *names))


# --- names and directions


def test_importing_the_names_loads_nothing_heavy():
    code = (
        "import sys, finesweep.metrics as m; m.objective_names(['accuracy']); "
        "print(*{'numpy', 'scipy', 'sklearn', 'torch', 'evaluate', 'datasets'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "\n"


def test_every_metric_is_an_evaluate_module_and_gives_its_own_name():
    scored = {
        SINGLE: single([[0.9, 0.1], [0.2, 0.8]], [0, 1]),
        MULTI: Scored(np.eye(2, dtype=int), np.eye(2, dtype=int), np.eye(2)),
        REGRESSION: Scored(np.array([1.0, 2.0]), np.array([1.0, 2.0]), None),
        TOKENS: Scored([["B-X"]], [["B-X"]], None),
    }
    for name, entry in METRICS.items():
        for problem_type, path in entry.classes.items():
            module = metric_computation._module(path)
            assert isinstance(module, evaluate.Metric)
            values = compute_metrics([name], scored[problem_type], schema(problem_type, "B-X", "O"))
            assert list(values) == [name] if entry.single else all("/" in key for key in values)
            perfect = 0 if entry.direction == "minimize" else 1
            assert next(iter(values.values())) == pytest.approx(perfect, abs=0.2)


def test_evaluate_s_own_call_gives_the_same_bits():
    random = np.random.default_rng(0)
    probabilities, truth = random.dirichlet((1, 1, 1), 40), random.integers(3, size=40)
    many = (random.random((2, 40, 3)) < 0.5).astype(int)
    numbers = random.normal(size=(2, 40))
    tags = [[[str(tag) for tag in random.choice(["B-X", "I-X", "O"], 5)] for _ in range(9)] for _ in range(2)]
    scored = {
        SINGLE: single(probabilities, truth),
        MULTI: Scored(many[0], many[1], random.random((40, 3))),
        REGRESSION: Scored(numbers[0], numbers[1]),
        TOKENS: Scored(tags[0], tags[1]),
    }
    names = ("B-X", "I-X", "O")
    for name, entry in METRICS.items():
        for problem_type, path in entry.classes.items():
            module, rows = metric_computation._module(path), scored[problem_type]
            read = getattr(rows, module.READS)
            expected = module.compute(predictions=read, references=rows.truth, label_names=names)
            assert compute_metrics([name], rows, schema(problem_type, *names)) == expected


def test_what_auto_stands_for():
    assert [main_metric(kind) for kind in PROBLEM_TYPES] == ["accuracy", "f1_micro", "pearson", "span_f1"]
    assert default_metrics(SINGLE) == ("accuracy", "f1_macro", "f1_per_class", "matthews_correlation")
    for problem_type in PROBLEM_TYPES:
        assert set(default_metrics(problem_type)) <= set(metric_names(problem_type))
        assert main_metric(problem_type) in objective_names(default_metrics(problem_type), problem_type)
        assert direction_of(main_metric(problem_type)) == "maximize"


def test_objectives_are_the_chosen_single_numbers_and_the_loss():
    assert objective_names(["accuracy", "f1_per_class", "nonsense"]) == ("accuracy", "loss")
    assert objective_names(["accuracy", "f1_micro"], MULTI) == ("f1_micro", "loss")
    assert objective_names([]) == ("loss",)


def test_directions():
    smaller = {name for name in (*metric_names(), "loss") if direction_of(name) == "minimize"}
    assert smaller == {"loss", "log_loss", "expected_calibration_error", "mse", "mae", "rmse"}
    with pytest.raises(ConfigError, match="Did you mean `accuracy`"):
        direction_of("acuracy")


# --- single-label


def test_single_label_by_hand():
    # Truth a a a b; a found twice of three times, b found once with one false alarm.
    scored = single([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8]], [0, 0, 0, 1])
    assert compute(scored, SINGLE, "a", "b") == pytest.approx(
        {
            "accuracy": 3 / 4,
            "balanced_accuracy": (2 / 3 + 1) / 2,
            "f1_macro": (4 / 5 + 2 / 3) / 2,
            "f1_micro": 3 / 4,
            "f1_weighted": (3 * 4 / 5 + 2 / 3) / 4,
            "f1/a": 4 / 5,
            "f1/b": 2 / 3,
            "matthews_correlation": 2 / math.sqrt(2 * 3 * 1 * 2),
            "roc_auc": 1.0,
            "pr_auc": 1.0,
            "log_loss": -math.log(0.9 * 0.6 * 0.3 * 0.8) / 4,
            # One row in each bin: 1 - 0.9, 1 - 0.6, 0 - 0.7, 1 - 0.8.
            "expected_calibration_error": (0.1 + 0.4 + 0.7 + 0.2) / 4,
        }
    )


def test_single_label_with_many_labels_equals_scikit_learn():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), 200).astype("float32")
    truth = rng.integers(0, 4, 200)
    scored = single(probabilities, truth)
    values = compute(scored, SINGLE, *"abcd")
    exact = probabilities / probabilities.sum(axis=1, keepdims=True, dtype="float64")
    predicted, one_hot = scored.predicted, np.eye(4)[truth]
    assert values["balanced_accuracy"] == sklearn_metrics.balanced_accuracy_score(truth, predicted)
    assert values["f1_weighted"] == sklearn_metrics.f1_score(truth, predicted, average="weighted")
    assert values["matthews_correlation"] == sklearn_metrics.matthews_corrcoef(truth, predicted)
    assert values["roc_auc"] == pytest.approx(
        sklearn_metrics.roc_auc_score(truth, exact, multi_class="ovr", average="macro")
    )
    assert values["pr_auc"] == pytest.approx(sklearn_metrics.average_precision_score(one_hot, probabilities))
    assert values["log_loss"] == pytest.approx(sklearn_metrics.log_loss(truth, exact))


def test_roc_auc_of_two_labels_is_that_of_the_second():
    # Of the four pairs of an a and a b, the b has the greater probability in three.
    scored = single([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5], [0.1, 0.9]], [0, 0, 1, 1])
    assert compute(scored, SINGLE, "a", "b", only="roc_auc") == {"roc_auc": 0.75}


def test_calibration_error_by_hand():
    # Two rows share the bin (0.6, 0.667]: accuracy 0.5, confidence 0.65; one on the edge 0.8 is right.
    probabilities = [[0.64, 0.36], [0.66, 0.34], [0.8, 0.2]]
    value = compute(single(probabilities, [0, 1, 0]), SINGLE, "a", "b", only="expected_calibration_error")
    assert value["expected_calibration_error"] == pytest.approx((2 * 0.15 + 0.2) / 3)


def test_a_split_with_one_label_only_has_no_auc_and_no_warning():
    values = compute(single([[0.9, 0.1], [0.7, 0.3]], [0, 0]), SINGLE, "a", "b")
    assert math.isnan(values.pop("roc_auc"))
    assert values["matthews_correlation"] == 0
    assert values["f1/b"] == 0
    assert values["accuracy"] == values["balanced_accuracy"] == values["f1_macro"] == values["pr_auc"] == 1
    assert all(math.isfinite(value) for value in values.values())


def test_a_label_that_never_occurs_is_left_out_of_averages_over_the_truth():
    scored = single([[0.8, 0.1, 0.1], [0.1, 0.2, 0.7], [0.3, 0.4, 0.3]], [0, 1, 1])
    values = compute(scored, SINGLE, "a", "b", "c")
    assert values["balanced_accuracy"] == pytest.approx((1 + 1 / 2) / 2)
    assert values["f1_macro"] == pytest.approx((1 + 2 / 3 + 0) / 3)  # c is predicted once
    assert values["roc_auc"] == values["pr_auc"] == 1
    assert values["f1/c"] == 0


def test_outputs_that_are_not_finite_give_nan_and_don_t_raise():
    broken = single([[math.nan, math.nan], [0.5, 0.5]], [0, 1])
    assert math.isnan(compute(broken, SINGLE, "a", "b", only="log_loss")["log_loss"])
    numbers = Scored(np.array([math.nan, 1.0]), np.array([1.0, 2.0]), None)
    assert all(math.isnan(value) for value in compute(numbers, REGRESSION, "score").values())


# --- multi-label


def test_multi_label_by_hand():
    truth = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0]])
    probabilities = np.array([[0.9, 0.6, 0.1], [0.8, 0.7, 0.2], [0.6, 0.4, 0.3]])
    scored = Scored((probabilities >= 0.5).astype(int), truth, probabilities)
    likelihood = [0.9, 0.4, 0.9, 0.8, 0.7, 0.8, 0.4, 0.4, 0.7]
    assert compute(scored, MULTI, "a", "b", "c") == pytest.approx(
        {
            "f1_micro": 2 * 3 / (5 + 4),
            "f1_macro": (2 * 2 / 5 + 2 * 1 / 4) / 2,  # c is neither predicted nor present
            "f1/a": 2 * 2 / 5,
            "f1/b": 2 * 1 / 4,
            "f1/c": 0.0,
            "subset_accuracy": 1 / 3,
            "roc_auc": (1 + 1 / 2) / 2,
            "mean_average_precision": (1 + (1 + 2 / 3) / 2) / 2,
            "log_loss": -sum(map(math.log, likelihood)) / 9,
        }
    )


def test_multi_label_equals_scikit_learn_where_every_label_occurs():
    rng = np.random.default_rng(0)
    probabilities = rng.random((100, 5))
    truth, predicted = rng.integers(0, 2, (100, 5)), (probabilities > 0.5).astype(int)
    values = compute(Scored(predicted, truth, probabilities), MULTI, *"abcde")
    for average in ("micro", "macro"):
        expected = sklearn_metrics.f1_score(truth, predicted, average=average)
        assert values[f"f1_{average}"] == pytest.approx(expected)
    assert values["roc_auc"] == pytest.approx(sklearn_metrics.roc_auc_score(truth, probabilities))
    assert values["mean_average_precision"] == pytest.approx(
        sklearn_metrics.average_precision_score(truth, probabilities)
    )


def test_a_multi_label_split_without_labels_scores_zero_and_has_no_areas():
    nothing = np.zeros((2, 2), dtype=int)
    values = compute(Scored(nothing, nothing, np.full((2, 2), 0.1)), MULTI, "a", "b")
    assert values["f1_micro"] == values["f1_macro"] == values["f1/a"] == 0
    assert values["subset_accuracy"] == 1
    assert math.isnan(values["roc_auc"])
    assert math.isnan(values["mean_average_precision"])


def test_one_label_alone_is_no_two_class_problem():
    # scikit-learn would read the one column as two classes and give accuracy, 3/4.
    truth, predicted = np.array([[1], [0], [0], [0]]), np.array([[0], [0], [0], [0]])
    values = compute(Scored(predicted, truth, np.full((4, 1), 0.2)), MULTI, "a")
    assert values["f1_micro"] == values["f1_macro"] == values["f1/a"] == 0


# --- regression


def test_regression_by_hand():
    scored = Scored(np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 2.0]), None)
    assert compute(scored, REGRESSION, "score") == pytest.approx(
        {
            "mse": 5 / 3,
            "mae": 1.0,
            "rmse": math.sqrt(5 / 3),
            "r2": 1 - 5 / 2,
            # Deviations -4/3 -1/3 5/3 and -1 1 0: covariance 1, variances 42/9 and 2.
            "pearson": 1 / math.sqrt(42 / 9 * 2),
            "spearman": 0.5,
        }
    )


def test_correlations_equal_scipy_s_with_ties():
    rng = np.random.default_rng(0)
    predicted, truth = rng.normal(size=50).astype("float32"), rng.integers(0, 5, 50).astype("float32")
    values = compute(Scored(predicted, truth, None), REGRESSION, "score")
    assert values["pearson"] == pytest.approx(stats.pearsonr(predicted.astype(float), truth).statistic)
    assert values["spearman"] == pytest.approx(stats.spearmanr(predicted, truth).statistic)


@pytest.mark.parametrize(
    ("predicted", "truth", "undefined"),
    [
        ([2.0, 2.0], [1.0, 3.0], {"pearson", "spearman"}),
        ([0.1 + 0.2, 0.3], [1.0, 3.0], {"pearson", "spearman"}),
        ([0.0, 0.0], [1.0, 3.0], {"pearson", "spearman"}),
        ([1.0, 3.0], [2.0, 2.0], {"pearson", "spearman", "r2"}),
        ([1.0], [2.0], {"pearson", "spearman", "r2"}),
    ],
)
def test_a_constant_side_has_no_correlation_and_no_warning(predicted, truth, undefined):
    values = compute(Scored(np.array(predicted), np.array(truth), None), REGRESSION, "score")
    assert {name for name, value in values.items() if math.isnan(value)} == undefined


# --- tokens


def test_the_documented_example_of_seqeval():
    truth = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    predicted = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    names = ("B-MISC", "B-PER", "I-MISC", "I-PER", "O")
    assert compute(Scored(predicted, truth, None), TOKENS, *names) == {
        "span_f1": 0.5,
        "span_precision": 0.5,
        "span_recall": 0.5,
        "span_f1/MISC": 0.0,
        "span_f1/PER": 1.0,
        "token_accuracy": 0.8,
    }


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("B-NP I-NP O", [("NP", 0, 1)]),
        ("I-NP I-NP O", [("NP", 0, 1)]),  # seqeval's second documented example: no B- is needed
        ("B-PER I-PER O B-LOC", [("PER", 0, 1), ("LOC", 3, 3)]),
        ("O O O B I I O", [("_", 3, 5)]),
        ("B-A B-A I-A", [("A", 0, 0), ("A", 1, 2)]),
        ("B-A I-B I-B", [("A", 0, 0), ("B", 1, 2)]),
        ("I-A B-A", [("A", 0, 0), ("A", 1, 1)]),
        ("B-A E-A I-A", [("A", 0, 1), ("A", 2, 2)]),
        ("S-A S-A E-A", [("A", 0, 0), ("A", 1, 1), ("A", 2, 2)]),
        ("B-A L-A U-A U-A", [("A", 0, 1), ("A", 2, 2), ("A", 3, 3)]),
        ("PER PER O LOC PER", [("PER", 0, 1), ("LOC", 3, 3), ("PER", 4, 4)]),
        ("B-work-of-art I-work-of-art", [("work-of-art", 0, 1)]),
        ("O O", []),
        ("", []),
    ],
)
def test_spans_are_read_leniently(tags, expected):
    assert list(find_spans(tags.split(), tags.split())) == expected


def test_span_counts_by_hand():
    truth = [["B-A", "I-A", "O", "B-B"], [], ["B-A", "O"]]
    predicted = [["B-A", "I-A", "B-A", "B-A"], [], ["B-A", "O"]]
    # 2 right of 4 found, of 3 true; A: 2 of 4 found, of 2 true; B: found never; C: in no row.
    values = compute(Scored(predicted, truth, None), TOKENS, "B-A", "B-B", "B-C", "I-A", "O")
    assert values == pytest.approx(
        {
            "span_f1": 4 / 7,
            "span_precision": 2 / 4,
            "span_recall": 2 / 3,
            "span_f1/A": 4 / 6,
            "span_f1/B": 0,
            "span_f1/C": 0,
            "token_accuracy": 4 / 6,
        }
    )


def test_spans_end_with_their_row():
    joined = compute(Scored([["I-A", "I-A"]], [["I-A", "I-A"]], None), TOKENS, "I-A", only="span_recall")
    apart = compute(Scored([["I-A"], ["I-A"]], [["I-A"], ["O"]], None), TOKENS, "I-A", only="span_precision")
    assert (joined["span_recall"], apart["span_precision"]) == (1, 0.5)


def test_rows_without_spans_or_words():
    values = compute(Scored([["O", "O"]], [["O", "O"]], None), TOKENS, "B-A", "O")
    assert values["span_f1"] == values["span_precision"] == values["span_recall"] == 0
    assert values["token_accuracy"] == 1
    assert math.isnan(compute(Scored([[]], [[]], None), TOKENS, "O", only="token_accuracy")["token_accuracy"])


# --- the baseline


def test_the_single_label_baseline_is_the_majority_with_train_s_shares():
    scored = baseline(np.array([1, 1, 1, 0]), np.array([0, 1]), schema(SINGLE, "a", "b"))
    assert scored.predicted.tolist() == [1, 1]
    assert scored.probabilities.tolist() == [[0.25, 0.75]] * 2
    values = compute(scored, SINGLE, "a", "b")
    assert values["accuracy"] == values["roc_auc"] == 0.5
    assert values["matthews_correlation"] == 0
    assert values["log_loss"] == pytest.approx(-math.log(0.25 * 0.75) / 2)


def test_the_multi_label_baseline_has_the_labels_of_more_than_half_of_train():
    train = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 0], [0, 0, 1]])
    scored = baseline(train, np.array([[1, 0, 1]]), schema(MULTI, *"abc"))
    assert scored.predicted.tolist() == [[1, 0, 0]]
    assert scored.probabilities.tolist() == [[0.75, 0.5, 0.25]]
    assert compute(scored, MULTI, *"abc", only="f1_micro")["f1_micro"] == pytest.approx(2 / 3)


def test_the_regression_baseline_is_train_s_mean():
    scored = baseline(np.array([1.0, 3.0]), np.array([1.0, 2.0, 3.0]), schema(REGRESSION, "score"))
    values = compute(scored, REGRESSION, "score")
    assert scored.predicted.tolist() == [2, 2, 2]
    assert values["mse"] == pytest.approx(2 / 3)
    assert values["r2"] == 0
    assert math.isnan(values["pearson"])


def test_the_token_baseline_is_the_most_frequent_tag():
    scored = baseline([["O", "B-A", "O"], []], [["B-A", "O"], ["O"]], schema(TOKENS, "B-A", "O"))
    assert scored.predicted == [["O", "O"], ["O"]]
    values = compute(scored, TOKENS, "B-A", "O")
    assert (values["token_accuracy"], values["span_f1"]) == (pytest.approx(2 / 3), 0)


# --- the loss


def test_losses_equal_torch_s():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 4, generator=generator) * 20
    ids = torch.randint(0, 4, (6,), generator=generator)
    several = torch.randint(0, 2, (6, 4), generator=generator).float()
    targets = torch.randn(6, generator=generator)
    words = torch.randn(3, 5, 4, generator=generator)
    tags = torch.tensor([[-100, 1, -100, 2, 3], [0, 0, -100, -100, -100], [-100] * 5])
    cases = [
        (SINGLE, logits, ids, functional.cross_entropy(logits, ids)),
        (MULTI, logits, several, functional.binary_cross_entropy_with_logits(logits, several)),
        (REGRESSION, logits[:, :1], targets, functional.mse_loss(logits[:, 0], targets)),
        (REGRESSION, logits[:, 0], targets, functional.mse_loss(logits[:, 0], targets)),
        (TOKENS, words, tags, functional.cross_entropy(words.flatten(0, 1), tags.flatten())),
    ]
    for problem_type, outputs, labels, expected in cases:
        value = mean_loss(outputs.numpy(), labels.numpy(), schema(problem_type, *"abcd"))
        assert value == pytest.approx(expected.item(), rel=1e-5)


def test_a_loss_without_a_value_is_nan():
    assert math.isnan(mean_loss(np.array([[math.inf, 0.0]]), np.array([0]), schema(SINGLE, "a", "b")))
    assert math.isnan(mean_loss(np.zeros((1, 2, 2)), np.full((1, 2), -100), schema(TOKENS, "B-A", "O")))


# --- thresholds


def f1_at(threshold: float, scores: np.ndarray, has: np.ndarray) -> float:
    found = scores >= threshold
    return 2 * (found & has).sum() / (found.sum() + has.sum())


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(1, 12))
def test_no_threshold_is_better_or_equally_good_and_nearer_to_one_half(data, rows):
    numbers = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1))
    scores = data.draw(arrays(float, rows, elements=numbers))
    has = data.draw(arrays(bool, rows))
    (threshold,) = tune_thresholds(scores[:, None], has[:, None])
    if not has.any():
        assert threshold == 0.5
        return
    best = f1_at(threshold, scores, has)
    assert best == max(f1_at(candidate, scores, has) for candidate in scores)
    neighbours = np.unique([0.0, *scores])
    midpoints = [(low + high) / 2 for low, high in itertools.pairwise(neighbours)]
    # A midpoint of neighbouring floats is one of them, and no threshold between the two.
    midpoints = [m for m, low in zip(midpoints, neighbours[:-1], strict=True) if m > low]
    equally_good = [m for m in midpoints if f1_at(m, scores, has) == best]
    assert all(abs(threshold - 0.5) <= abs(m - 0.5) for m in equally_good)


def test_thresholds_by_hand():
    probabilities = np.array([[0.1, 0.3, 0.2], [0.2, 0.4, 0.4], [0.6, 0.2, 0.9]], dtype="float32")
    truth = np.array([[0, 1, 0], [1, 1, 0], [1, 0, 0]])
    assert tune_thresholds(probabilities, truth) == pytest.approx([0.15, 0.25, 0.5])
