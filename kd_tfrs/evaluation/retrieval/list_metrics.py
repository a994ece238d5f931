"""Metrics of ranked lists beyond accuracy: coverage, novelty, diversity.

All functions take `ranked`, the places of the items in the catalogue [users,
depth], -1 where a list is shorter.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

# Numbers in the sums of vectors that `diversity_at_k` holds at a time.
_BLOCK = 2**23


def coverage_at_k(ranked: np.ndarray, num_items: int, k: int) -> float:
    """Share of the catalogue that is in the first k of any list.

    Args:
        ranked: [users, depth], places in the catalogue, -1 for none.
        num_items: size of the catalogue.
        k: length of the lists.

    Returns:
        In [0, 1].

    Example:
    >>> coverage_at_k(np.array([[0, 1], [0, 2]]), num_items=4, k=1)
    0.25
    """
    return float((_counts(ranked, num_items, k) > 0).mean())


def gini_at_k(ranked: np.ndarray, num_items: int, k: int) -> float:
    """Inequality of how often the items of the catalogue are recommended.

    `gini = sum_i (2 i - n - 1) c_i / (n sum_i c_i)`, with the counts c sorted
    ascending and i from 1 to n.

    Args:
        ranked: [users, depth], places in the catalogue, -1 for none.
        num_items: size of the catalogue, n.
        k: length of the lists.

    Returns:
        0 where every item is recommended equally often, near 1 where one item
        takes all recommendations; 0 without any recommendation.

    Example:
    >>> gini_at_k(np.array([[0], [0]]), num_items=2, k=1)
    0.5
    """
    counts = np.sort(_counts(ranked, num_items, k))
    weights = 2 * np.arange(1, num_items + 1) - num_items - 1
    return float(weights @ counts / (num_items * max(1, counts.sum())))


def _counts(ranked: np.ndarray, num_items: int, k: int) -> np.ndarray:
    """[num_items]: in how many lists each item is among the first k."""
    shown = ranked[:, :k]
    return np.bincount(shown[shown >= 0], minlength=num_items)


def mean_at_k(values: np.ndarray, ranked: np.ndarray, k: int) -> np.ndarray:
    """Mean of a property of the first k items.

    With the number of training events it is the average popularity; with
    `self_information` it is the novelty.

    Args:
        values: [num_items], the property of each item.
        ranked: [users, depth], places in the catalogue, -1 for none.
        k: length of the lists.

    Returns:
        [users]; 0 for an empty list.

    Example:
    >>> mean_at_k(np.array([1.0, 3.0]), np.array([[0, 1]]), k=2).tolist()
    [2.0]
    """
    shown = ranked[:, :k]
    there = shown >= 0
    totals = np.where(there, values[shown], 0.0).sum(axis=1)
    return totals / np.maximum(1, there.sum(axis=1))


def self_information(counts: np.ndarray) -> np.ndarray:
    """Self-information of an item, from its share of the training events.

    `-log2((count + 1) / (total + n))`: one added event for each of the n items
    keeps the self-information of an unseen item finite.

    Args:
        counts: [num_items], training events of each item.

    Returns:
        [num_items], in bits.

    Example:
    >>> self_information(np.array([0, 0])).tolist()
    [1.0, 1.0]

    References:
        Zhou et al. 2010, "Solving the apparent diversity-accuracy dilemma of
        recommender systems".
    """
    return -np.log2((counts + 1) / (counts.sum() + len(counts)))


def diversity_at_k(
    vectors: sp.csr_matrix | np.ndarray, ranked: np.ndarray, k: int
) -> np.ndarray:
    """Mean dissimilarity of the pairs of items within the first k.

    `diversity@k = mean_{i != j} (1 - cosine(v_i, v_j))`

    Args:
        vectors: [num_items, dim], rows of length 1 (see `unit_rows`); a row
            of zeros has a similarity of 0 to all items.
        ranked: [users, depth], places in the catalogue, -1 for none.
        k: length of the lists.

    Returns:
        [users]; 0 for a list of fewer than two items.

    Example:
    >>> diversity_at_k(np.eye(2), np.array([[0, 1]]), k=2).tolist()
    [1.0]

    References:
        Ziegler et al. 2005, "Improving recommendation lists through topic
        diversification".
    """
    # The vectors of a block of lists are summed at once: bounded memory.
    step = max(1, _BLOCK // vectors.shape[1])
    parts = [
        _diversity(vectors, ranked[start : start + step, :k])
        for start in range(0, len(ranked), step)
    ]
    return np.concatenate([np.empty(0), *parts])


def _diversity(
    vectors: sp.csr_matrix | np.ndarray, shown: np.ndarray
) -> np.ndarray:
    """The diversity of whole lists [users, k]."""
    there = shown >= 0
    size = there.sum(axis=1)
    bounds = np.concatenate([[0], np.cumsum(size)])
    lists = sp.csr_matrix(
        (np.ones(bounds[-1], np.float32), shown[there], bounds),
        shape=(len(shown), vectors.shape[0]),
    )
    # The squared length of the sum of vectors is the sum over all pairs of
    # their cosines; the cosine of an item with itself is subtracted.
    own = lists @ _row_sums(_squared(vectors))
    pairs = _row_sums(_squared(lists @ vectors)) - own
    count = size * (size - 1)
    return np.where(count > 0, 1 - pairs / np.maximum(1, count), 0.0)


def unit_rows(vectors: sp.spmatrix | np.ndarray) -> sp.csr_matrix | np.ndarray:
    """Scales rows to length 1; rows of zeros stay unchanged.

    Args:
        vectors: [rows, dim], dense or sparse.

    Returns:
        The same, scaled; sparse as CSR.

    Example:
    >>> unit_rows(np.array([[0.0, 4.0]])).tolist()
    [[0.0, 1.0]]
    """
    if not sp.issparse(vectors):
        vectors = np.asarray(vectors, np.float64)
    squares = _row_sums(_squared(vectors))
    scale = 1 / np.sqrt(np.where(squares > 0, squares, 1.0))
    if sp.issparse(vectors):
        return sp.csr_matrix(sp.diags(scale) @ vectors)
    return vectors * scale[:, None]


def sketch_columns(
    vectors: sp.csr_matrix, width: int = 2048, seed: int = 0
) -> sp.csr_matrix:
    """Folds many columns into few; dot products of rows are kept on average.

    Every column is added, with a random sign, to one of the new columns at
    random (count sketch): `E[s(x) . s(y)] = x . y`, with a standard deviation
    of at most `|x| |y| sqrt(2 / width)`.

    Args:
        vectors: [rows, dim].
        width: number of columns to fold into.
        seed: of the draw.

    Returns:
        [rows, width].

    Example:
    >>> sketch_columns(sp.csr_matrix(np.ones((2, 9))), width=3).shape
    (2, 3)

    References:
        Charikar, Chen and Farach-Colton 2002, "Finding frequent items in data
        streams".
    """
    random = np.random.default_rng(seed)
    dim = vectors.shape[1]
    signs = random.choice(np.float32([-1, 1]), dim)
    places = random.integers(width, size=dim)
    folds = sp.csr_matrix((signs, (np.arange(dim), places)), shape=(dim, width))
    return sp.csr_matrix(vectors @ folds)


def _squared(vectors: sp.spmatrix | np.ndarray) -> sp.spmatrix | np.ndarray:
    """Squares each element of a dense or sparse matrix."""
    if sp.issparse(vectors):
        return vectors.multiply(vectors)
    return np.square(vectors)


def _row_sums(vectors: sp.spmatrix | np.ndarray) -> np.ndarray:
    """[rows] sums of a dense or sparse matrix, in double precision."""
    return np.asarray(vectors.sum(axis=1, dtype=np.float64)).ravel()
