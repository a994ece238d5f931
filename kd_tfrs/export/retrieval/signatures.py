"""Signatures of a served retrieval model, with raw ids."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from kd_tfrs.data.catalogue import UNKNOWN_USER_ROW, Catalogue
from kd_tfrs.evaluation.ids import padding_id
from kd_tfrs.export.stored_table import (
    FLOAT32,
    RowLookup,
    Storage,
    StoredTable,
    id_tensor,
)

Outputs = dict[str, tf.Tensor]


class RetrievalModule(tf.Module):
    """Tables of queries and candidates behind four signatures.

    * `serving_default`: `user_id [b]` -> `item_id`, `score` `[b, top_k]`;
    * `recommend`: `user_id [b]`, `k []`, `exclude [b, e]` -> the same, `[b,
      k]`; rows of `exclude` are padded with any id that no item has;
    * `score`: `user_id [b]`, `item_id [b, m]` -> `score [b, m]`;
    * `embed_query`: `user_id [b]` -> `embedding [b, dim]`.

    Ids are raw, `int64` or strings as in the data. An unknown user gets the
    query in row 0, an unknown item the score -inf. Where fewer than `k` items
    are left, places at the end have the score -inf and an empty id (the
    smallest int64 for integers). Ties go to the smaller id.

    The embeddings of both towers are computed before the export, since a
    query tower that reads only columns of the user gives the same embedding
    at every request. The graph contains neither towers nor ids.

    Args:
        query_embeddings: `[num_users + 1, dim]` by user row; row 0 is the
            query of an unknown user.
        candidate_embeddings: `[num_items, dim]` by item row.
        catalogue: raw ids by row.
        top_k: number of items of `serving_default`, at least 1.
        storage: storage format of the tables, see `Storage`.

    Example:
    ```python
    module = RetrievalModule(queries, candidates, catalogue)
    tf.saved_model.save(module, path, signatures=module.signatures())
    ```
    """

    def __init__(
        self,
        query_embeddings: np.ndarray,
        candidate_embeddings: np.ndarray,
        catalogue: Catalogue,
        top_k: int = 10,
        storage: Storage = FLOAT32,
    ) -> None:
        super().__init__(name="retrieval")
        self.queries = StoredTable(query_embeddings, storage)
        self.candidates = StoredTable(candidate_embeddings, storage)
        self.user_ids, self.item_ids = (
            tf.Variable(id_tensor(ids), trainable=False, name=name)
            for name, ids in (
                ("user_ids", catalogue.user_ids),
                ("item_ids", catalogue.item_ids),
            )
        )
        self.user_rows = RowLookup(
            self.user_ids, first=1, missing=UNKNOWN_USER_ROW
        )
        self.item_rows = RowLookup(self.item_ids, first=0, missing=-1)
        self.top_k = top_k
        dtype = self.item_ids.dtype
        nothing = padding_id(is_text=dtype == tf.string)
        self._no_item = tf.constant(nothing, dtype)

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """The four signatures, ready for `tf.saved_model.save`."""
        user_dtype, item_dtype = self.user_ids.dtype, self.item_ids.dtype
        users = tf.TensorSpec([None], user_dtype, "user_id")
        exclude = tf.TensorSpec([None, None], item_dtype, "exclude")
        items = tf.TensorSpec([None, None], item_dtype, "item_id")
        k = tf.TensorSpec([], tf.int32, "k")
        # Separate functions, since methods that are `tf.function`s are saved
        # twice, as signatures and as attributes of the module.
        specs = {
            "serving_default": (self.default, [users]),
            "recommend": (self.recommend, [users, k, exclude]),
            "score": (self.score, [users, items]),
            "embed_query": (self.embed_query, [users]),
        }
        return {
            name: tf.function(function).get_concrete_function(*inputs)
            for name, (function, inputs) in specs.items()
        }

    def default(self, user_id: tf.Tensor) -> Outputs:
        """`top_k` recommendations, nothing excluded."""
        scores = self._all_scores(user_id)
        return self._best(scores, tf.constant(self.top_k))

    def recommend(
        self, user_id: tf.Tensor, k: tf.Tensor, exclude: tf.Tensor
    ) -> Outputs:
        """`k` recommendations, some items excluded."""
        positive = tf.debugging.assert_positive(
            k, "`k` should be at least 1. Received a smaller one."
        )
        rowwise = tf.debugging.assert_equal(
            tf.shape(exclude)[0],
            tf.shape(user_id)[0],
            "`exclude` should hold one row a user, empty ones padded.",
        )
        with tf.control_dependencies([positive, rowwise]):
            scores = self._all_scores(user_id)
        rows = self.item_rows.lookup(exclude)
        places = tf.where(rows >= 0)
        excluded = tf.gather_nd(rows, places)
        at = tf.stack([tf.cast(places[:, 0], tf.int32), excluded], axis=1)
        scores = tf.tensor_scatter_nd_update(
            scores, at, tf.fill([tf.shape(at)[0]], -np.inf)
        )
        return self._best(scores, k)

    def score(self, user_id: tf.Tensor, item_id: tf.Tensor) -> Outputs:
        """Scores of given candidates."""
        rows = self.item_rows.lookup(item_id)
        candidates = self.candidates.gather(tf.maximum(rows, 0))
        scores = tf.einsum("bd,bmd->bm", self._embed(user_id), candidates)
        return {"score": tf.where(rows >= 0, scores, -np.inf)}

    def embed_query(self, user_id: tf.Tensor) -> Outputs:
        """Query embeddings, for a separate index."""
        return {"embedding": self._embed(user_id)}

    def _embed(self, user_id: tf.Tensor) -> tf.Tensor:
        return self.queries.gather(self.user_rows.lookup(user_id))

    def _all_scores(self, user_id: tf.Tensor) -> tf.Tensor:
        return tf.matmul(
            self._embed(user_id), self.candidates.read(), transpose_b=True
        )

    def _best(self, scores: tf.Tensor, k: tf.Tensor) -> Outputs:
        num_items = tf.shape(scores)[1]
        values, rows = tf.math.top_k(scores, tf.minimum(k, num_items))
        ids = tf.where(
            tf.math.is_finite(values),
            tf.gather(self.item_ids, rows),
            self._no_item,
        )
        short = [[0, 0], [0, tf.maximum(k - num_items, 0)]]
        return {
            "item_id": tf.pad(ids, short, constant_values=self._no_item),
            "score": tf.pad(values, short, constant_values=-np.inf),
        }
