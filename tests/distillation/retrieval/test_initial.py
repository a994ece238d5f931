"""A student's first embeddings, from the teacher's."""

import numpy as np
import pytest

from kd_tfrs.distillation.retrieval import project_embeddings
from kd_tfrs.errors import UserError


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def make_teacher(rank, dim=32, seed=0):
    """Embeddings that lie in a random subspace of `rank` dimensions."""
    random = np.random.default_rng(seed)
    basis = np.linalg.qr(random.normal(size=(dim, rank)))[0]
    return tuple(
        unit(random.normal(size=(rows, rank)) @ basis.T) for rows in (50, 40)
    )


def test_what_lies_in_few_dimensions_keeps_every_score():
    queries, candidates = make_teacher(rank=5)

    q, c = project_embeddings(queries, candidates, dim=5)

    assert q.shape == (50, 5)
    np.testing.assert_allclose(q @ c.T, queries @ candidates.T, atol=1e-6)


def test_the_directions_that_are_used_most_are_kept():
    queries, candidates = make_teacher(rank=20)
    # Stretch four directions, so that they carry nearly everything.
    scale = np.ones(32)
    scale[:4] = 30
    queries, candidates = unit(queries * scale), unit(candidates * scale)
    exact = queries @ candidates.T

    def error(dim):
        q, c = project_embeddings(queries, candidates, dim)
        return np.abs(q @ c.T - exact).mean()

    assert error(4) < 0.05
    assert error(2) > 3 * error(4)
    assert error(32) == pytest.approx(0, abs=1e-6)


def test_a_wider_student_has_no_dead_column():
    queries, candidates = make_teacher(rank=5, dim=6)

    q, c = project_embeddings(queries, candidates, dim=9)

    assert q.shape == (50, 9)
    assert (np.abs(q).max(axis=0) > 0).all()
    np.testing.assert_allclose(q @ c.T, queries @ candidates.T, atol=0.01)


def test_a_row_of_zeros_stays_one():
    q, _ = project_embeddings(np.zeros((1, 4)), np.eye(4), dim=2)

    assert q.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    ("queries", "candidates", "dim", "message"),
    [
        (np.eye(3), np.eye(3), 0, "`dim`"),
        (np.eye(3), np.eye(3), 1.5, "`dim`"),
        (np.eye(3), np.eye(4), 2, "of one width"),
        (np.eye(3)[0], np.eye(3), 2, "of one width"),
        (np.eye(3), np.full((2, 3), np.nan), 2, "`candidates` should be fin"),
        (np.full((1, 3), np.inf), np.eye(3), 2, "`queries` should be finite"),
    ],
)
def test_what_cannot_be_projected(queries, candidates, dim, message):
    with pytest.raises(UserError, match=message):
        project_embeddings(queries, candidates, dim)
