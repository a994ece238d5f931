"""EASE against its own closed form, and against the regression it solves."""

import numpy as np
import pytest
import scipy.sparse as sp

from kd_tfrs.errors import UserError
from kd_tfrs.models.retrieval import ease
from kd_tfrs.models.retrieval.ease import Ease, interaction_matrix


def events_of(num_users, num_items, seed=0):
    rng = np.random.default_rng(seed)
    dense = rng.random((num_users, num_items)) < 0.2
    dense[0] = False  # the unknown user
    dense[:, 1] = False  # an item without events
    return dense.astype(np.float64)


def closed_form(x, regularization):
    """Equation 8 of the paper, term by term."""
    p = np.linalg.inv(x.T @ x + regularization * np.eye(x.shape[1]))
    b = -p / np.diag(p)
    np.fill_diagonal(b, 0.0)
    return x @ b


@pytest.mark.parametrize("shape", [(9, 23), (31, 12)])
@pytest.mark.parametrize("dual", [None, False, True])
@pytest.mark.parametrize("regularization", [0.5, 30.0])
def test_scores_are_the_closed_form(monkeypatch, shape, dual, regularization):
    monkeypatch.setattr(ease, "_BLOCK_SCORES", 50)
    monkeypatch.setattr(ease, "_MIRROR_ROWS", 5)
    x = events_of(*shape)
    model = Ease(sp.csr_matrix(x), regularization, dual)
    expected = closed_form(x, regularization)
    assert model.dual == (shape[0] < shape[1] if dual is None else dual)
    np.testing.assert_allclose(model.all_scores(), expected, atol=1e-6)
    rows = np.array([3, 0, 3])
    np.testing.assert_allclose(model.scores(rows), expected[rows], atol=1e-6)
    assert not np.any(model.scores([0]))


def test_every_column_is_a_ridge_regression_on_the_others():
    x = events_of(20, 7)
    predicted = Ease(sp.csr_matrix(x), 2.0, dual=True).all_scores()
    for item in range(7):
        others = np.delete(x, item, axis=1)
        weights = np.linalg.solve(
            others.T @ others + 2.0 * np.eye(6), others.T @ x[:, item]
        )
        np.testing.assert_allclose(
            predicted[:, item], others @ weights, atol=1e-6
        )


def test_an_event_counts_once_and_the_input_stays(tmp_path):
    x = sp.csr_matrix(events_of(6, 8) * 3.0)
    before = x.copy()
    scores = Ease(x, 1.0).all_scores()
    assert (before != x).nnz == 0
    np.testing.assert_allclose(
        scores, closed_form(events_of(6, 8), 1.0), atol=1e-6
    )
    half = Ease(x, 1.0).all_scores("float16")
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, scores, atol=1e-3)
    out = np.lib.format.open_memmap(
        tmp_path / "scores.npy", "w+", np.float32, scores.shape
    )
    assert Ease(x, 1.0).all_scores(out=out) is out
    np.testing.assert_array_equal(out, scores)


def test_interaction_matrix():
    matrix = interaction_matrix([2, 1, 2], [0, 3, 0], (3, 4))
    np.testing.assert_array_equal(
        matrix.toarray(), [[0, 0, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0]]
    )


@pytest.mark.parametrize("regularization", [0.0, -1.0])
def test_regularization_is_positive(regularization):
    with pytest.raises(UserError, match="should be positive"):
        Ease(sp.csr_matrix(np.eye(3)), regularization)
