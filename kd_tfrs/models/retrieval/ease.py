"""EASE: a linear item-item model in closed form, useful as a teacher."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from kd_tfrs.errors import UserError

_BLOCK_SCORES = 2**24
_MIRROR_ROWS = 1024


class Ease:
    r"""Scores by a ridge regression of every item on all other items.

    $$B_{ij} = -P_{ij} / P_{jj}, \quad B_{jj} = 0, \quad
    P = (X^\top X + \lambda I)^{-1}, \quad S = X B$$

    where $X$ is one where a user has an event with an item. The model is not
    trained: one matrix of the smaller side is inverted. With fewer users than
    items, the scores are computed from the users' matrix, which is exact:

    $$X P = (X X^\top + \lambda I)^{-1} X, \quad
    P_{jj} = (1 - x_j^\top (X X^\top + \lambda I)^{-1} x_j) / \lambda$$

    A `[side, side]` float64 matrix is inverted in place, which needs 220 MB and
    seconds for 5,000 rows, and 3 GB and minutes for 20,000.

    Args:
        events: `[num_queries, num_candidates]` sparse matrix; every entry
            other than 0 is an event. Rows are the user rows of the
            `Catalogue`, including row 0, the unknown user, without events.
        regularization: $\lambda$, positive; hundreds are usual for millions of
            events, tens for sparse data.
        dual: whether to invert the users' matrix; `None` chooses the smaller
            side.

    Raises:
        UserError: when `regularization` is not positive.

    Example:
    ```python
    model = Ease(interaction_matrix(users, items, shape), regularization=50)
    teacher = ScoreTeacher(model.all_scores("float16"), seen=seen)
    ```

    References:
        Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data",
        eq. 8; the users' side is the Woodbury identity of it.
    """

    def __init__(
        self,
        events: sp.spmatrix,
        regularization: float = 100.0,
        dual: bool | None = None,
    ) -> None:
        if regularization <= 0:
            raise UserError(
                "`regularization` should be positive. Received: "
                f"`regularization` = {regularization}. Values from 10 to 1000 "
                "are usual."
            )
        self._events = sp.csr_matrix(events, dtype=np.float64, copy=True)
        self._events.sum_duplicates()
        self._events.eliminate_zeros()
        self._events.data[:] = 1.0
        self.num_queries, self.num_candidates = self._events.shape
        self.dual = (
            self.num_queries < self.num_candidates if dual is None else dual
        )
        matrix = self._events if self.dual else self._events.T
        self._inverse = _ridge_inverse(matrix, regularization)
        self._diagonal = self._find_diagonal(regularization)

    def scores(self, query_rows: np.ndarray) -> np.ndarray:
        """Computes scores of every candidate for given queries.

        Args:
            query_rows: `[n]` rows of `events`.

        Returns:
            `[n, num_candidates]` float32. The score of a candidate in the
            query's events is computed from the other events of the query.
        """
        rows = np.asarray(query_rows)
        seen = self._events[rows]
        scores = -self._half_scores(rows) / self._diagonal
        # The diagonal of the weights B is 0.
        own = np.repeat(np.arange(len(rows)), np.diff(seen.indptr))
        scores[own, seen.indices] += 1.0
        return scores.astype(np.float32)

    def all_scores(
        self, dtype: str = "float32", out: np.ndarray | None = None
    ) -> np.ndarray:
        """Computes scores of every candidate for every query, in blocks.

        Args:
            dtype: "float32" or "float16"; ignored if `out` is given.
            out: `[num_queries, num_candidates]` array for the result, such as
                a memory-mapped array.

        Returns:
            `[num_queries, num_candidates]`.
        """
        if out is None:
            out = np.empty((self.num_queries, self.num_candidates), dtype)
        for rows in self._blocks():
            out[rows] = self.scores(rows)
        return out

    def _half_scores(self, rows: np.ndarray) -> np.ndarray:
        """`[n, num_candidates]`: rows of X P."""
        if self.dual:
            return self._inverse[rows] @ self._events
        return self._events[rows] @ self._inverse

    def _find_diagonal(self, regularization: float) -> np.ndarray:
        """`[num_candidates]`: the diagonal of P."""
        if not self.dual:
            return np.diag(self._inverse).copy()
        explained = np.zeros(self.num_candidates)
        for rows in self._blocks():
            block = self._events[rows]
            explained += np.asarray(
                block.multiply(self._half_scores(rows)).sum(axis=0)
            ).ravel()
        return (1.0 - explained) / regularization

    def _blocks(self) -> Iterator[np.ndarray]:
        size = max(1, _BLOCK_SCORES // self.num_candidates)
        for start in range(0, self.num_queries, size):
            yield np.arange(start, min(start + size, self.num_queries))


def interaction_matrix(
    query_rows: np.ndarray, candidate_rows: np.ndarray, shape: tuple[int, int]
) -> sp.csr_matrix:
    """Builds a sparse matrix of ones from events.

    Args:
        query_rows: `[events]` rows of users.
        candidate_rows: `[events]` rows of items.
        shape: number of user rows, including the unknown user, and of item
            rows.

    Returns:
        Sparse float32 matrix; repeated events are one entry.

    Example:
    >>> interaction_matrix([1, 1], [0, 2], (2, 3)).toarray().tolist()
    [[0.0, 0.0, 0.0], [1.0, 0.0, 1.0]]
    """
    ones = np.ones(len(query_rows), np.float32)
    events = sp.csr_matrix((ones, (query_rows, candidate_rows)), shape=shape)
    events.data[:] = 1.0
    return events


def _ridge_inverse(matrix: sp.spmatrix, regularization: float) -> np.ndarray:
    """The inverse of `matrix matrix^T + regularization I`, dense float64."""
    # LAPACK needs columns in order: the transpose of a symmetric matrix is the
    # matrix itself. All steps are in place, so memory holds one copy.
    gram = (matrix @ matrix.T).toarray().T
    gram[np.diag_indices_from(gram)] += regularization
    factor, info = scipy.linalg.lapack.dpotrf(gram, lower=1, overwrite_a=1)
    inverse, failed = scipy.linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)
    if info or failed:
        raise UserError(
            "`regularization` should be large enough to invert the events' "
            f"matrix. Received: `regularization` = {regularization}."
        )
    for start in range(0, len(inverse), _MIRROR_ROWS):
        rows = slice(start, start + _MIRROR_ROWS)
        inverse[:start, rows] = inverse[rows, :start].T
        corner = np.tril(inverse[rows, rows])
        inverse[rows, rows] = corner + np.tril(corner, -1).T
    return inverse
