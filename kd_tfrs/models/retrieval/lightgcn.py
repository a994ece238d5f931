"""LightGCN: embeddings smoothed over the graph of users and items."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import tensorflow as tf

from kd_tfrs.errors import UserError
from kd_tfrs.models.retrieval.model import Outputs, RetrievalModel

Product = Callable[[tf.Tensor], tf.Tensor]
_STDDEV = 0.1


class LightGcn(RetrievalModel):
    r"""A retrieval model of ids with embeddings averaged over neighbours.

    $$E^{(l+1)} = D^{-1/2} A D^{-1/2} E^{(l)}, \quad
    E = \frac{1}{L + 1} \sum_{l=0}^{L} E^{(l)}$$

    over the graph $A$ of users and items with the degrees $D$. It is trained as
    every `RetrievalModel`, on the same batches: with the softmax over the
    candidates of a batch and on cosines, while the paper uses BPR with a
    penalty on the weights. Every step propagates over the whole graph, so use
    large batches.

    For a teacher, use `EmbeddingTeacher(*model.embeddings())` with the
    temperature of the model.

    Args:
        events: `[num_queries, num_candidates]` sparse matrix of training
            events by rows of the `Catalogue`, including the unknown user;
            every entry other than 0 is an event.
        embedding_dim: width of the embeddings.
        num_layers: $L$, at least 1; the paper finds 2 to 4 best.
        temperature: see `RetrievalModel`.
        popularity_correction: see `RetrievalModel`.
        normalize: whether to divide embeddings by their L2 norm.
        seed: seed of the initial embeddings.
        name: name of the model.

    Raises:
        UserError: when a number is out of range.

    Example:
    ```python
    model = LightGcn(interaction_matrix(users, items, shape), 64)
    model.compile(tf.keras.optimizers.legacy.Adam(0.005))
    model.fit(batches.dataset(epochs=20))
    teacher = EmbeddingTeacher(*model.embeddings(), model.temperature)
    ```

    References:
        He et al. 2020, "LightGCN: Simplifying and Powering Graph Convolution
        Network for Recommendation", eq. 7 and 8; embeddings are initialised
        with a standard deviation of 0.1, as in section 4.1.2.
    """

    def __init__(
        self,
        events: sp.spmatrix,
        embedding_dim: int = 64,
        num_layers: int = 3,
        temperature: float = 0.15,
        popularity_correction: float = 1.0,
        normalize: bool = True,
        seed: int = 0,
        name: str = "lightgcn",
    ) -> None:
        super().__init__(
            None, None, temperature, popularity_correction, name=name
        )
        if embedding_dim < 1 or num_layers < 1:
            raise UserError(
                "`embedding_dim` and `num_layers` should be at least 1. "
                f"Received: {embedding_dim} and {num_layers}."
            )
        self.num_layers = num_layers
        self.normalize = normalize
        self._gather_candidates, self._gather_queries = _products(events)
        self._has_events = tf.constant(
            np.diff(sp.csr_matrix(events).indptr)[:, None] > 0, tf.float32
        )
        rng = np.random.default_rng(seed)
        self._tables = [
            tf.Variable(
                rng.normal(0, _STDDEV, (rows, embedding_dim)),
                dtype=tf.float32,
                name=f"{side}_embedding",
            )
            for side, rows in zip(
                ("query", "candidate"), events.shape, strict=True
            )
        ]

    def call(self, batch: dict, training: bool = False) -> Outputs:
        """Computes the embeddings of a batch's rows.

        Args:
            batch: `query_row` and `candidate_row`, see `RetrievalBatches`.
            training: ignored.

        Returns:
            See `RetrievalModel.call`.
        """
        del training
        queries, candidates = self.propagate()
        return {
            "query": {"embedding": tf.gather(queries, batch["query_row"])},
            "candidate": {
                "embedding": tf.gather(candidates, batch["candidate_row"])
            },
        }

    def propagate(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes the embeddings of all rows, with gradients.

        Returns:
            `[num_queries, dim]`, zero where a query has no event, and
            `[num_candidates, dim]`.
        """
        queries, candidates = (tf.convert_to_tensor(x) for x in self._tables)
        sums = [queries, candidates]
        for _ in range(self.num_layers):
            queries, candidates = (
                self._gather_candidates(candidates),
                self._gather_queries(queries),
            )
            sums = [sums[0] + queries, sums[1] + candidates]
        if self.normalize:
            sums = [tf.math.l2_normalize(x, axis=1) for x in sums]
        else:
            sums = [x / (self.num_layers + 1) for x in sums]
        return sums[0] * self._has_events, sums[1]

    def embeddings(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the result of `propagate` as arrays."""
        queries, candidates = self.propagate()
        return queries.numpy(), candidates.numpy()


def _products(events: sp.spmatrix) -> tuple[Product, Product]:
    """Products with the normalised events, and with their transpose."""
    scaled = _normalized(events)
    sides = [_as_tensor(scaled), _as_tensor(scaled.T)]

    def product(graph: tf.SparseTensor, back: tf.SparseTensor) -> Product:
        # The gradient uses the transposed matrix, which is precomputed.
        @tf.custom_gradient
        def multiply(x: tf.Tensor) -> tuple[tf.Tensor, Product]:
            return _multiply(graph, x), lambda dy: _multiply(back, dy)

        return multiply

    return product(*sides), product(*sides[::-1])


def _multiply(graph: tf.SparseTensor, x: tf.Tensor) -> tf.Tensor:
    # Several times faster than `tf.sparse.sparse_dense_matmul` on a CPU,
    # including the conversion.
    rows = tf.raw_ops.SparseTensorToCSRSparseMatrix(
        indices=graph.indices,
        values=graph.values,
        dense_shape=graph.dense_shape,
    )
    result = tf.raw_ops.SparseMatrixMatMul(a=rows, b=x)
    return tf.ensure_shape(result, [graph.shape[0], x.shape[1]])


def _as_tensor(matrix: sp.spmatrix) -> tf.SparseTensor:
    ordered = sp.csr_matrix(matrix)
    ordered.sort_indices()
    ordered = ordered.tocoo()
    return tf.SparseTensor(
        np.stack([ordered.row, ordered.col], axis=1).astype(np.int64),
        ordered.data.astype(np.float32),
        ordered.shape,
    )


def _normalized(events: sp.spmatrix) -> sp.csr_matrix:
    """Events divided by the square roots of both degrees."""
    ones = sp.csr_matrix(events, dtype=np.float32, copy=True)
    ones.sum_duplicates()
    ones.eliminate_zeros()
    ones.data[:] = 1.0
    roots = []
    for axis in (1, 0):
        degree = np.asarray(ones.sum(axis=axis)).ravel()
        inverse = 1 / np.sqrt(np.maximum(degree, 1))
        roots.append(np.where(degree > 0, inverse, 0))
    return sp.csr_matrix(sp.diags(roots[0]) @ ones @ sp.diags(roots[1]))
