"""The teacher's embeddings in fewer dimensions, as a student's first ones."""

from __future__ import annotations

import numpy as np

from kd_tfrs.distillation.losses.checks import check_count
from kd_tfrs.errors import UserError

_NOISE = 0.01


def project_embeddings(
    queries: np.ndarray, candidates: np.ndarray, dim: int, *, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    r"""Projects both sides of a teacher onto the directions they use most.

    $$q' = V^\top q, \quad c' = V^\top c$$

    with the columns of $V$ the eigenvectors of the `dim` largest eigenvalues
    of $\frac{1}{|Q|} \sum_q q q^\top + \frac{1}{|C|} \sum_c c c^\top$. Dot
    products change as little as one projection of both sides allows. Rows
    are scaled to length 1.

    A student that starts here needs a fraction of the steps of one that
    starts at random, and ends closer to the teacher.

    Args:
        queries: `[num_queries, teacher_dim]`.
        candidates: `[num_candidates, teacher_dim]`.
        dim: width of the student, at least 1. Beyond the teacher's width
            columns are small random numbers, since zeros on both sides would
            never change.
        seed: of these.

    Returns:
        `[num_queries, dim]` and `[num_candidates, dim]` float32.

    Raises:
        UserError: `dim` is too small, or the embeddings differ in width or
            are not finite.

    Example:
    >>> q, c = project_embeddings(np.eye(3), np.eye(3)[:2], dim=2)
    >>> np.round(q @ c.T, 6).tolist()
    [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    """
    dim = check_count("dim", dim)
    sides = [np.asarray(side, np.float64) for side in (queries, candidates)]
    _check(*sides)
    moments = sum(side.T @ side / max(1, len(side)) for side in sides)
    _, vectors = np.linalg.eigh(moments)
    # `eigh` sorts by ascending eigenvalue.
    kept = vectors[:, ::-1][:, :dim]
    missing = dim - kept.shape[1]
    random = np.random.default_rng(seed)
    projected = []
    for side in sides:
        values = side @ kept
        if missing > 0:
            noise = random.normal(0.0, _NOISE, (len(side), missing))
            values = np.concatenate([values, noise], axis=1)
        projected.append(_unit(values).astype(np.float32))
    return projected[0], projected[1]


def _check(queries: np.ndarray, candidates: np.ndarray) -> None:
    shapes = [queries.shape, candidates.shape]
    if any(len(x) != 2 for x in shapes) or shapes[0][1] != shapes[1][1]:
        raise UserError(
            "`queries` and `candidates` should be [n, teacher_dim] of one "
            f"width. Received: {shapes[0]} and {shapes[1]}. Take the "
            "embeddings that the teacher scores with."
        )
    for name, side in (("queries", queries), ("candidates", candidates)):
        if not np.isfinite(side).all():
            raise UserError(
                f"`{name}` should be finite. Received: NaN or infinity in "
                f"{(~np.isfinite(side)).any(axis=1).sum()} of {len(side)} "
                "rows. Train the teacher with a smaller step size."
            )


def _unit(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(lengths > 1e-12, rows / np.maximum(lengths, 1e-12), 0.0)
