"""The two-tower retrieval model, with the retrieval task of TFRS."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_recommenders as tfrs

from kd_tfrs.errors import UserError
from kd_tfrs.models.retrieval.task import FusedRetrieval

Outputs = dict[str, dict[str, tf.Tensor]]


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class RetrievalModel(tfrs.Model):
    r"""Two towers trained by the softmax over the candidates of a batch.

    $$L = -\frac{1}{\sum_i w_i} \sum_i w_i \log
    \frac{\exp(\langle q_i, c_i \rangle / \tau - \beta \log p_i)}
    {\sum_j \exp(\langle q_i, c_j \rangle / \tau - \beta \log p_j)}$$

    where $j$ runs over the candidates of the batch and the uniform negatives,
    without further copies of item $i$, and $p_j$ is the sampling probability of
    $j$.

    Args:
        query_tower: Keras model from query features to a dict of outputs that
            includes `embedding` (`[queries, dim]`).
        candidate_tower: likewise for candidates.
        temperature: softmax temperature $\tau$, positive.
        popularity_correction: strength $\beta$ of the sampling correction, in
            [0, 1]. 1 is the unbiased softmax over all items; with 0, popular
            items have lower scores, since they are sampled more often.
        remove_accidental_hits: whether to mask further copies of the query's
            own candidate.
        name: name of the model.

    Raises:
        UserError: when a number is out of range.

    Example:
    ```python
    model = RetrievalModel(query_tower, candidate_tower, temperature=0.15)
    model.compile(optimizer=LazyAdam(0.003))
    model.fit(batches.dataset(epochs=1))
    ```

    References:
        Yi et al. 2019, "Sampling-Bias-Corrected Neural Modeling for Large
        Corpus Item Recommendations", eq. 3 to 5.
    """

    def __init__(
        self,
        query_tower: tf.keras.Model,
        candidate_tower: tf.keras.Model,
        temperature: float = 0.1,
        popularity_correction: float = 1.0,
        remove_accidental_hits: bool = True,
        name: str = "retrieval",
    ) -> None:
        super().__init__(name=name)
        # Its networks are built, so that it has a summary.
        self.built = True
        if temperature <= 0:
            raise UserError(
                "`temperature` should be positive. Received: `temperature` = "
                f"{temperature}. Values from 0.05 to 0.3 suit cosine scores."
            )
        if not 0.0 <= popularity_correction <= 1.0:
            raise UserError(
                "`popularity_correction` should lie in [0, 1]. Received: "
                f"`popularity_correction` = {popularity_correction}."
            )
        self.query_tower = query_tower
        self.candidate_tower = candidate_tower
        self.temperature = temperature
        self.popularity_correction = popularity_correction
        self.remove_accidental_hits = remove_accidental_hits
        self.task = FusedRetrieval(temperature)

    def get_config(self) -> dict:
        """Arguments of the constructor; towers by their own configurations."""
        serialize = tf.keras.saving.serialize_keras_object
        return {
            "query_tower": serialize(self.query_tower),
            "candidate_tower": serialize(self.candidate_tower),
            "temperature": self.temperature,
            "popularity_correction": self.popularity_correction,
            "remove_accidental_hits": self.remove_accidental_hits,
            "name": self.name,
        }

    @classmethod
    def from_config(
        cls, config: dict, custom_objects: dict | None = None
    ) -> RetrievalModel:
        """The inverse of `get_config`."""
        towers = {
            name: tf.keras.saving.deserialize_keras_object(
                config[name], custom_objects
            )
            for name in ("query_tower", "candidate_tower")
        }
        return cls(**{**config, **towers})

    def build_from_config(self, config: dict) -> None:
        """Nothing to build: the networks of `from_config` are built."""
        del config

    @property
    def networks(self) -> tuple[tf.keras.Model, ...]:
        """The networks with the trained weights."""
        return (self.query_tower, self.candidate_tower)

    def with_networks(
        self, query_tower: tf.keras.Model, candidate_tower: tf.keras.Model
    ) -> RetrievalModel:
        """Returns the same model with other towers (pruned, stripped, ...).

        Args:
            query_tower: as in the constructor.
            candidate_tower: as in the constructor.

        Returns:
            A new model; this one does not change.
        """
        return RetrievalModel(
            query_tower,
            candidate_tower,
            self.temperature,
            self.popularity_correction,
            self.remove_accidental_hits,
            name=self.name,
        )

    def call(self, batch: dict, training: bool = False) -> Outputs:
        """Runs both towers once.

        Args:
            batch: `query` and `candidate` features, see `RetrievalBatches`.
            training: whether dropout is active.

        Returns:
            `{"query": outputs, "candidate": outputs}` with `[queries, width]`
            and `[candidates, width]` tensors.
        """
        return {
            "query": self.query_tower(batch["query"], training=training),
            "candidate": self.candidate_tower(
                batch["candidate"], training=training
            ),
        }

    def task_loss(self, batch: dict, outputs: Outputs) -> tf.Tensor:
        """Computes the hard-label loss: a weighted mean over the events.

        Args:
            batch: see `RetrievalBatches`. Its first `[batch]` queries and
                candidates are the events; the softmax is over the first
                `[candidates]` candidates, which have probabilities.
            outputs: outputs of `call` for the batch.

        Returns:
            A scalar.
        """
        weight = batch["event_weight"]
        probability = batch["candidate_probability"]
        num_candidates = tf.shape(probability)[0]
        rows = batch["candidate_row"][:num_candidates]
        beta = self.popularity_correction
        total = self.task(
            outputs["query"]["embedding"][: tf.shape(weight)[0]],
            outputs["candidate"]["embedding"][:num_candidates],
            weight,
            probability**beta if beta else None,
            (
                _not_accidental(rows, tf.shape(weight)[0])
                if self.remove_accidental_hits
                else None
            ),
        )
        return tf.math.divide_no_nan(total, tf.reduce_sum(weight))

    def compute_loss(self, inputs: dict, training: bool = False) -> tf.Tensor:
        """Computes the loss of a batch for `tfrs.Model`; see `task_loss`."""
        return self.task_loss(inputs, self(inputs, training=training))


def _not_accidental(rows: tf.Tensor, num_queries: tf.Tensor) -> tf.Tensor:
    """False where a candidate is a further copy of the query's own item."""
    own = tf.eye(num_queries, tf.shape(rows)[0], dtype=tf.bool)
    return own | (rows[:num_queries, None] != rows[None, :])
