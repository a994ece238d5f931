"""The two-tower retrieval model, on TFRS's own retrieval task."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_recommenders as tfrs

from kd_tfrs.errors import UserError
from kd_tfrs.models.retrieval.task import FusedRetrieval

Outputs = dict[str, dict[str, tf.Tensor]]


class RetrievalModel(tfrs.Model):
    r"""Two towers trained by the softmax over the candidates of a batch.

    $$L = -\frac{1}{\sum_i w_i} \sum_i w_i \log
    \frac{\exp(\langle q_i, c_i \rangle / \tau - \beta \log p_i)}
    {\sum_j \exp(\langle q_i, c_j \rangle / \tau - \beta \log p_j)}$$

    where $j$ runs over the candidates of the batch and the uniform negatives
    beside them, without those that are item $i$ again, and $p_j$ is how
    likely $j$ is to be there.

    Args:
        query_tower: Keras model from query features to a dict of outputs,
            `embedding` (`[queries, dim]`) among them.
        candidate_tower: likewise for candidates.
        temperature: softmax temperature $\tau$, positive.
        popularity_correction: strength $\beta$ of the sampling correction, in
            [0, 1]; 1 is the unbiased softmax over all items, 0 leaves popular
            items punished for being sampled often.
        remove_accidental_hits: leave out candidates that are the query's own.
        name: name of the model.

    Raises:
        UserError: a number is out of range.

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

    @property
    def networks(self) -> tuple[tf.keras.Model, ...]:
        """The networks whose weights are what was learned."""
        return (self.query_tower, self.candidate_tower)

    def with_towers(
        self, query_tower: tf.keras.Model, candidate_tower: tf.keras.Model
    ) -> RetrievalModel:
        """The same model around other towers (pruned, stripped, ...).

        Args:
            query_tower: as in the constructor.
            candidate_tower: as in the constructor.

        Returns:
            A new model; this one stays as it is.
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
            training: whether dropout drops.

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
        """The hard-label loss: a weighted mean over the batch's events.

        Args:
            batch: see `RetrievalBatches`; its first `[batch]` queries and
                candidates are the events, `[candidates]` probabilities say
                how many candidates the softmax sees.
            outputs: what `call` returned for it.

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
        """The loss of a batch, as `tfrs.Model` asks for it.

        Args:
            inputs: a batch, see `RetrievalBatches`.
            training: whether dropout drops.

        Returns:
            A scalar.
        """
        return self.task_loss(inputs, self(inputs, training=training))


def _not_accidental(rows: tf.Tensor, num_queries: tf.Tensor) -> tf.Tensor:
    """False where a candidate is the query's own item once more."""
    own = tf.eye(num_queries, tf.shape(rows)[0], dtype=tf.bool)
    return own | (rows[:num_queries, None] != rows[None, :])
