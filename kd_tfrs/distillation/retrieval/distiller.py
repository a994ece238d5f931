"""The distiller of retrieval models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from kd_tfrs.data.retrieval.batches import Batch
from kd_tfrs.distillation import schedules
from kd_tfrs.distillation.balance import GradientNormBalance
from kd_tfrs.distillation.base_distiller import BaseDistiller
from kd_tfrs.distillation.losses import DistillationLoss, FeatureLoss
from kd_tfrs.distillation.metric_scores import lowest_where
from kd_tfrs.distillation.retrieval.batch_scores import EmbeddingScores
from kd_tfrs.distillation.retrieval.candidates import CandidateSampler, InBatch
from kd_tfrs.distillation.retrieval.step_inputs import (
    RetrievalStepInputs,
    build_features,
)
from kd_tfrs.distillation.retrieval.teachers import Teacher
from kd_tfrs.distillation.terms import DistillationTerm, as_terms
from kd_tfrs.errors import UserError


class Distiller(BaseDistiller):
    r"""Trains a student on real labels and on the outputs of a teacher.

    $$L = \lambda L_\text{student} + \sum_i w_i L_i(\text{teacher},
    \text{student})$$

    with the student's own TFRS task as $L_\text{student}$. The student runs
    forward once a step. Only training changes the student, and the teacher is
    never changed.

    Args:
        teacher: see `kd_tfrs.distillation.retrieval.teachers`.
        student: a `RetrievalModel`, or any model with the same `call`,
            `task_loss` and `temperature`.
        distillation_losses: a `DistillationLoss` or a `DistillationTerm`, or a
            sequence of them; a bare loss compares the batch's candidates.
            Layers of a loss are trained with the student; a discriminator is
            trained against it, once a step, after it.
        distillation_loss_weights: $w_i$, one for each loss; numbers or Keras
            schedules. When `None`, they share `1 - student_loss_weight`,
            which then has to be positive.
        student_loss_weight: $\lambda$, a number of at least 0 or a schedule.
        balance: multiplies the $w_i$ so that gradients keep a proportion, or
            `None`.
        name: name of the model.

    Raises:
        UserError: an argument does not fit; see the message.

    Example:
    ```python
    distiller = Distiller(
        teacher, student, DistillationTerm(SoftTargets(), TeacherTopK(k=200)),
        student_loss_weight=0.2,
    )
    distiller.compile(optimizer=LazyAdam(0.01))
    distiller.fit(batches.dataset(epochs=10, join=distiller.join))
    distiller.student.query_tower  # trained
    ```

    References:
        Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural
        Network", section 2.
    """

    def __init__(
        self,
        teacher: Teacher,
        student: tf.keras.Model,
        distillation_losses: DistillationLoss
        | DistillationTerm
        | Sequence[DistillationLoss | FeatureLoss | DistillationTerm]
        | None = None,
        distillation_loss_weights: schedules.Scheduled
        | Sequence[schedules.Scheduled]
        | None = None,
        student_loss_weight: schedules.Scheduled = 0.5,
        balance: GradientNormBalance | None = None,
        name: str = "distiller",
    ) -> None:
        _check_models(teacher, student)
        terms = as_terms(distillation_losses, teacher, lambda _: InBatch())
        for term in terms:
            term.candidates.check(term.teacher)
            build_features(term, student)
        if balance is not None:
            _check_balanced(terms)
        super().__init__(
            teacher,
            student,
            terms,
            distillation_loss_weights,
            student_loss_weight,
            balance,
            name,
        )
        self.track_layers()

    @classmethod
    def takes(cls, student: object) -> bool:
        """See `BaseDistiller.takes`."""
        return hasattr(student, "query_tower") and hasattr(student, "task_loss")

    def check_rows(self, num_queries: int, num_candidates: int) -> None:
        """Compares the rows of all teachers with those of the data.

        Args:
            num_queries: user rows of the data, the unknown one counted.
            num_candidates: item rows of the data.

        Raises:
            UserError: a teacher has others, see `Teacher.check_rows`.
        """
        for term in self._terms.value:
            term.teacher.check_rows(num_queries, num_candidates)

    def check(self, batch: Batch) -> None:
        """Compares the rows, and runs teacher and student on a batch.

        Args:
            batch: see `EventBatches`.

        Raises:
            UserError: see `BaseDistiller.check`.
        """
        if not isinstance(batch, Mapping) or "query_row" not in batch:
            raise UserError(
                "`x` should be batches of RetrievalBatches. Received: "
                f"{_described(batch)}. Write batches.dataset(epochs, "
                "join=distiller.join), or kd.fit(distiller, ...)."
            )
        self.check_rows(*map(int, batch["catalogue_rows"]))
        super().check(batch)

    def join(self, rows: Batch, seed: tf.Tensor) -> Batch:
        """Adds the candidates of the losses to a row batch.

        Args:
            rows: see `RetrievalBatches`.
            seed: `[2]` int32, of the training step.

        Returns:
            The batch with more rows.
        """
        for sampler, teacher in self._samplers():
            rows = sampler.join(rows, seed, teacher)
        return rows

    def step_inputs(self, batch: Batch, outputs: dict) -> RetrievalStepInputs:
        """See `BaseDistiller.step_inputs`."""
        return RetrievalStepInputs(
            batch, outputs, self.student.temperature, self._step()
        )

    def metric_inputs(self, batch: Batch, outputs: dict) -> tuple:
        """The events and the scores of the candidates of the batch.

        Args:
            batch: see `EventBatches`.
            outputs: of the student for it.

        Returns:
            `[batch, candidates]` one-hot labels, the student's scores, and
            the events' weights.
        """
        selection = InBatch().select(batch)
        scores = EmbeddingScores.of_student(outputs, self.student.temperature)
        scores = tf.cast(scores.scores(selection), tf.float32)
        mask = selection.mask | selection.target
        return (
            {"scores": tf.cast(selection.target, tf.float32)},
            {"scores": lowest_where(tf.logical_not(mask), scores)},
            {"scores": selection.weight},
        )

    def balance_sources(self, outputs: dict) -> list[tf.Tensor]:
        """The embeddings: no backward pass runs through the towers."""
        return [side["embedding"] for side in outputs.values()]

    def batch_weight(self, batch: Batch) -> tf.Tensor:
        """Sum of the events' weights."""
        return tf.reduce_sum(batch["event_weight"])

    def _samplers(self) -> list[tuple[CandidateSampler, Teacher]]:
        """Each candidate sampler once, with its teacher."""
        by_name = {
            term.candidates.name: (term.candidates, term.teacher)
            for term in self._terms.value
        }
        return list(by_name.values())


def _check_models(teacher: Teacher, student: tf.keras.Model) -> None:
    if not isinstance(teacher, Teacher):
        raise UserError(
            "`teacher` should be a kd_tfrs Teacher. Received: "
            f"{type(teacher).__name__}. Wrap a Keras model in "
            "TwoTowerTeacher or PairTeacher, and load a file by "
            "load_model_file first."
        )
    if not callable(getattr(student, "task_loss", None)):
        raise UserError(
            "`student` should have a `task_loss`, as RetrievalModel has. "
            f"Received: {type(student).__name__}."
        )


def _described(batch: object) -> str:
    if isinstance(batch, Mapping):
        return f"a dict with {', '.join(sorted(batch))}"
    return f"{type(batch).__name__}"


def _check_balanced(terms: Sequence[DistillationTerm]) -> None:
    for term in terms:
        output = term.candidates.student_output
        if output != "embedding":
            raise UserError(
                "`balance` measures gradients at the embeddings, so that every "
                "loss should be one on embeddings or scores. Received: a term "
                f"on the student's {output!r}. Leave `balance` out and give "
                "weights."
            )
