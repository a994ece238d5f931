"""Against scikit-learn with ties and weights, by hand, and by property."""

import numpy as np
import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.ranking import metrics as ranking_metrics
from kd_tfrs.evaluation.ranking.scored_rows import sigmoid

SEEDS = range(5)
ALL_BINARY = (
    ranking_metrics.auc,
    ranking_metrics.average_precision,
    ranking_metrics.log_loss,
    ranking_metrics.accuracy,
    ranking_metrics.precision,
    ranking_metrics.recall,
    ranking_metrics.f1,
)
ALL_RATING = (ranking_metrics.rmse, ranking_metrics.mae)


def impressions(seed, size=300):
    """Labels, logits with many ties, and weights, some of them 0."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, size)
    logits = np.round(random.normal(labels - 0.5, 1.5) * 4) / 4
    weights = random.exponential(size=size) * (random.random(size) > 0.2)
    return labels, logits, weights


@pytest.fixture
def sklearn_metrics():
    return pytest.importorskip("sklearn.metrics")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_binary_metrics_agree_with_scikit_learn(
    seed, weighted, sklearn_metrics
):
    labels, logits, weights = impressions(seed)
    weights = weights if weighted else None
    assert len(np.unique(logits)) < len(logits) / 4
    chosen = logits >= 0
    expected = {
        "auc": sklearn_metrics.roc_auc_score(
            labels, logits, sample_weight=weights
        ),
        "average_precision": sklearn_metrics.average_precision_score(
            labels, logits, sample_weight=weights
        ),
        "log_loss": sklearn_metrics.log_loss(
            labels, sigmoid(logits), sample_weight=weights
        ),
        "accuracy": sklearn_metrics.accuracy_score(
            labels, chosen, sample_weight=weights
        ),
        "precision": sklearn_metrics.precision_score(
            labels, chosen, sample_weight=weights
        ),
        "recall": sklearn_metrics.recall_score(
            labels, chosen, sample_weight=weights
        ),
        "f1": sklearn_metrics.f1_score(labels, chosen, sample_weight=weights),
    }
    found = {m.__name__: m(labels, logits, weights) for m in ALL_BINARY}
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_rating_metrics_agree_with_scikit_learn(weighted, sklearn_metrics):
    random = np.random.default_rng(0)
    labels = random.integers(1, 6, 200)
    ratings = random.normal(3.5, 1, 200)
    weights = random.random(200) if weighted else None
    expected = {
        "rmse": sklearn_metrics.root_mean_squared_error(
            labels, ratings, sample_weight=weights
        ),
        "mae": sklearn_metrics.mean_absolute_error(
            labels, ratings, sample_weight=weights
        ),
    }
    found = {m.__name__: m(labels, ratings, weights) for m in ALL_RATING}
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_curve_agrees_with_scikit_learn(weighted, sklearn_metrics):
    labels, logits, weights = impressions(0)
    # A threshold of weight 0 is a point for scikit-learn alone.
    weights = weights + 0.1 if weighted else None
    false, true, _ = sklearn_metrics.roc_curve(
        labels, logits, sample_weight=weights, drop_intermediate=False
    )
    found = ranking_metrics.roc_curve(labels, logits, weights)
    np.testing.assert_allclose(found[0], false)
    np.testing.assert_allclose(found[1], true)
    area = np.trapezoid(found[1], found[0])
    assert area == pytest.approx(ranking_metrics.auc(labels, logits, weights))


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
def test_a_probability_at_the_threshold_is_taken(threshold, sklearn_metrics):
    labels, logits, _ = impressions(1)
    taken = sigmoid(logits) >= threshold
    found = ranking_metrics.f1(labels, logits, threshold=threshold)
    assert found == pytest.approx(sklearn_metrics.f1_score(labels, taken))
    # Logit 0 is probability 1/2 exactly.
    assert ranking_metrics.recall([1], [0.0]) == 1


def test_auc_counts_the_pairs():
    labels, logits, weights = impressions(2, size=40)
    won = total = 0.0
    for i in np.flatnonzero(labels == 1):
        for j in np.flatnonzero(labels == 0):
            pair = weights[i] * weights[j]
            better = (logits[i] > logits[j]) + (logits[i] == logits[j]) / 2
            won, total = won + pair * better, total + pair
    found = ranking_metrics.auc(labels, logits, weights)
    assert found == pytest.approx(won / total)


def test_average_precision_is_the_precision_at_each_positive():
    # Without ties, in the order 1 0 1 1 0: precision 1/1, 2/3 and 3/4.
    found = ranking_metrics.average_precision([1, 0, 1, 1, 0], [5, 4, 3, 2, 1])
    assert found == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    # All are tied: one step, with the share of positives.
    assert ranking_metrics.average_precision([1, 0, 0, 0], [2] * 4) == 1 / 4


def test_log_loss_is_stable_for_extreme_logits():
    log_loss = ranking_metrics.log_loss
    assert log_loss([1, 0], [1e5, -1e5]) == 0
    assert log_loss([0, 1], [1e5, -1e5]) == 1e5
    # log(1 + e^-40) is e^-40 to sixteen digits, not 0.
    assert log_loss([1], [40.0]) == pytest.approx(np.exp(-40))
    assert log_loss([0], [-40.0]) == pytest.approx(np.exp(-40))
    assert log_loss([1], [0.0]) == pytest.approx(np.log(2))


def test_decisions_by_hand():
    # TP 1, FP 2, FN 1, TN 1.
    labels, logits = [1, 0, 0, 1, 0], [1.0, 1.0, 0.0, -1.0, -1.0]
    assert ranking_metrics.accuracy(labels, logits) == 2 / 5
    assert ranking_metrics.precision(labels, logits) == 1 / 3
    assert ranking_metrics.recall(labels, logits) == 1 / 2
    assert ranking_metrics.f1(labels, logits) == 2 / (2 + 2 + 1)


@pytest.mark.parametrize("metric", ALL_BINARY)
def test_a_whole_weight_is_a_repeated_row(metric):
    labels, logits, _ = impressions(3)
    times = np.random.default_rng(0).integers(0, 4, len(labels))
    repeated = metric(np.repeat(labels, times), np.repeat(logits, times))
    assert metric(labels, logits, times) == pytest.approx(repeated)


@pytest.mark.parametrize("metric", [*ALL_BINARY, *ALL_RATING])
def test_neither_order_nor_the_scale_of_weights_matters(metric):
    labels, logits, weights = impressions(4)
    order = np.random.default_rng(0).permutation(len(labels))
    expected = metric(labels, logits, weights)
    moved = metric(labels[order], logits[order], 7 * weights[order])
    assert moved == pytest.approx(expected)
    # A row of weight 0 may be as wrong as it likes.
    more = metric(
        np.append(labels, 1), np.append(logits, -99), np.append(weights, 0)
    )
    assert more == pytest.approx(expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_order_alone_matters_for_auc_and_average_precision(seed):
    labels, logits, weights = impressions(seed)
    for metric in ALL_BINARY[:2]:
        expected = metric(labels, logits, weights)
        assert metric(labels, np.exp(logits), weights) == expected
        assert 0 <= expected <= 1
    auc = ranking_metrics.auc
    assert auc(labels, -logits, weights) == pytest.approx(
        1 - auc(labels, logits, weights)
    )
    assert auc(1 - labels, logits, weights) == pytest.approx(
        1 - auc(labels, logits, weights)
    )


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_no_order(label):
    labels, scores = [label] * 3, [1.0, 2.0, 2.0]
    assert ranking_metrics.auc(labels, scores) is None
    assert ranking_metrics.average_precision(labels, scores) is None
    assert ranking_metrics.roc_curve(labels, scores) is None
    # The other class is there, but counts nothing.
    weights = [1, 1, 1, 0]
    labels, scores = [*labels, 1 - label], [*scores, 0.0]
    assert ranking_metrics.auc(labels, scores, weights) is None
    assert ranking_metrics.average_precision(labels, scores, weights) is None


def test_decisions_without_a_case_are_none():
    assert ranking_metrics.precision([1, 0], [-1.0, -1.0]) is None
    assert ranking_metrics.recall([0, 0], [1.0, 1.0]) is None
    assert ranking_metrics.f1([0, 0], [-1.0, -1.0]) is None
    assert ranking_metrics.f1([1, 0], [-1.0, -1.0]) == 0
    assert ranking_metrics.accuracy([0, 0], [-1.0, -1.0]) == 1


@pytest.mark.parametrize("metric", [*ALL_BINARY, *ALL_RATING])
def test_no_rows_are_none_and_no_mistake(metric):
    assert metric([], []) is None
    assert metric([1, 0], [1.0, 2.0], [0, 0]) is None


@pytest.mark.parametrize("metric", [*ALL_BINARY, *ALL_RATING])
@pytest.mark.parametrize(
    ("labels", "scores", "weights", "message"),
    [
        ([1, 0], [1.0], None, r"`scores` should have the shape \[2\]"),
        ([1, 0], [[1.0], [2.0]], None, "np.ravel"),
        ([[1, 0]], [1.0, 2.0], None, r"`labels` should have the shape \[n\]"),
        ([1, 0], [1.0, 2.0], [1], "`weights` should have the shape"),
        ([1, 0], [1.0, 2.0], [1, -1], "at least 0. Received: -1"),
        ([1, 0], [1.0, np.nan], None, "`scores` should be finite"),
        ([1, 0], [1.0, 2.0], [1, np.inf], "`weights` should be finite"),
        (["a", "b"], [1.0, 2.0], None, "`labels` should be numbers"),
    ],
)
def test_mistakes_raise(metric, labels, scores, weights, message):
    with pytest.raises(UserError, match=message):
        metric(labels, scores, weights)


@pytest.mark.parametrize("metric", ALL_BINARY)
def test_ratings_are_no_binary_labels(metric):
    with pytest.raises(UserError, match=r"0 or 1. Received: 4\.0"):
        metric([0, 4], [1.0, 2.0])


@pytest.mark.parametrize("threshold", [0, 1, 1.5, np.nan])
def test_a_threshold_is_a_probability(threshold):
    with pytest.raises(UserError, match="between 0 and 1"):
        ranking_metrics.accuracy([0, 1], [0.0, 1.0], threshold=threshold)
