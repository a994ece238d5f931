"""Topology distillation: cosine similarities among users or items."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from kd_tfrs.distillation.losses.annealed_choice import AnnealedChoice
from kd_tfrs.distillation.losses.checks import check_count, check_number
from kd_tfrs.distillation.losses.expert_mixture import ExpertMixture
from kd_tfrs.distillation.losses.feature_base import FeatureLoss
from kd_tfrs.distillation.losses.inputs import LossInputs
from kd_tfrs.distillation.losses.pairs import counted, first_counted, spread
from kd_tfrs.distillation.losses.projection import projection, unit_length
from kd_tfrs.errors import UserError

LEVELS = ("entities", "prototypes")


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class FullTopology(FeatureLoss):
    r"""Squared difference of all cosine similarities (FTD).

    $$l_i = \frac{1}{n} \sum_j (\cos(h^t_i, h^t_j) -
    \cos(h^s_i, h^s_j))^2$$

    so that the mean is the paper's $\|A^t - A^s\|_F^2$ over its number of
    entries. The matrices themselves are never made: work grows with rows
    times squared width. Widths may differ. The paper puts users and items in
    one matrix; here each side has a loss of its own.

    Args:
        **options: `reduction` and `name`, see `WeightedLoss`.

    Example:
    >>> loss = FullTopology()
    >>> float(loss([[1.0, 0.0], [0.0, 1.0]], [[2.0], [2.0]]))
    0.5

    References:
        Kang et al. 2021, "Topology Distillation for Recommender System",
        section 4.1.
    """

    def per_row(self, inputs: LossInputs) -> tf.Tensor:
        """See `FeatureLoss.per_row`."""
        teacher, student = inputs[:2]
        weight = inputs.weight
        count = counted(weight)
        total = _squared_differences(
            unit_length(teacher), unit_length(student), count
        )
        return tf.math.divide_no_nan(total, tf.reduce_sum(count))


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class HierarchicalTopology(AnnealedChoice):
    r"""Similarities between groups and within groups (HTD).

    $$L = \frac{1}{N} \Big( \sum_{i, j: g_i = g_j, a^t_{ij} > 0}
    (a^t_{ij} - a^s_{ij})^2 + \sum_{i, k} (b^t_{ik} - b^s_{ik})^2
    + \lambda \sum_i \| h^t_i - \sum_k z_{ik} f_k(h^s_i) \|^2 \Big)$$

    with cosines $a$ between rows and $b$ between rows and the mean vectors
    (prototypes) of groups, and $N$ the number of relations in both: it is the
    authors' sum but for $1 / N$, which frees it from the batch's size. The
    last term learns the groups: rows belong together that the same network
    $f_k$ brings to the teacher's space, $z_i = \mathrm{softmax}((\log
    \mathrm{softmax}(v(h^t_i)) + g_i) / \tau)$ with Gumbel noise $g$ and a
    $\tau$ that falls as in `DistillationExperts`, and
    $g_i = \arg\max v(h^t_i)$.

    As in the authors' code, and unlike the paper's equations, the relations
    within a group are those where the teacher's cosine is positive, and no
    gradient reaches the student through its prototypes. The paper holds users
    and items in one topology, though in groups of their own; here each side
    has its own loss.

    Args:
        num_groups: groups at most; those without a row count for nothing.
        level: what prototypes are compared with: "entities" (the paper's
            Group(P, e)) or the other "prototypes" (Group(P, P)).
        assignment_weight: $\lambda$, at least 0; without it, groups stay as
            they were drawn.
        assignment_rows: the last term takes at most as many rows, the first
            that count, because it costs by far the most; `None` takes all.
        annealing_steps: training steps until $\tau$ is lowest.
        initial_temperature: of $\tau$, positive.
        final_temperature: of $\tau$, positive and at most the first.
        seed: of the Gumbel noise.
        **options: `reduction` and `name`, see `WeightedLoss`.

    Raises:
        UserError: an argument is out of range.

    Example:
    ```python
    loss = HierarchicalTopology(num_groups=40)
    DistillationTerm(loss, FeaturePair("candidate"))
    ```

    References:
        Kang et al. 2021, "Topology Distillation for Recommender System",
        section 4.2; the temperatures are those of the authors' code.
    """

    def __init__(
        self,
        num_groups: int = 30,
        level: str = "entities",
        assignment_weight: float = 1.0,
        assignment_rows: int | None = 512,
        annealing_steps: int = 10_000,
        initial_temperature: float = 1.0,
        final_temperature: float = 1e-10,
        seed: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(
            annealing_steps,
            initial_temperature,
            final_temperature,
            seed,
            **options,
        )
        self.num_groups = check_count("num_groups", num_groups)
        if level not in LEVELS:
            raise UserError(
                f"`level` should be one of {LEVELS}. Received: `level` = "
                f"{level!r}."
            )
        self.level = level
        self.assignment_weight = check_number(
            "assignment_weight", assignment_weight, 0.0
        )
        if assignment_rows is not None:
            assignment_rows = check_count("assignment_rows", assignment_rows)
        self.assignment_rows = assignment_rows

    def build(self, teacher_width: int, student_width: int) -> None:
        """See `FeatureLoss.build`."""
        self.assignment = projection(
            teacher_width, self.num_groups, name="assignment"
        )
        self.networks = ExpertMixture(
            self.num_groups,
            (teacher_width + student_width) // 2,
            teacher_width,
        )
        self.networks.build(tf.TensorShape([None, student_width]))

    @property
    def trainable_layers(self) -> tuple[tf.keras.layers.Layer, ...]:
        """The networks that assign groups."""
        return (self.assignment, self.networks)

    def per_row(self, inputs: LossInputs) -> tf.Tensor:
        """See `FeatureLoss.per_row`."""
        teacher, student = inputs[:2]
        weight = inputs.weight
        step = inputs.step
        logits = self.assignment(teacher)
        group = tf.argmax(logits, axis=1, output_type=tf.int32)
        count = counted(weight)
        losses, relations = self._topology(teacher, student, count, group)
        if self.assignment_weight:
            losses += self.assignment_weight * self._assignment(
                teacher, student, weight, step
            )
        # The mean over rows then is the sum of all over the relations.
        return tf.math.divide_no_nan(losses * tf.reduce_sum(count), relations)

    def _topology(
        self,
        teacher: tf.Tensor,
        student: tf.Tensor,
        count: tf.Tensor,
        group: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Every row's part of both levels, and how many relations they are."""
        sizes = tf.math.unsorted_segment_sum(count, group, self.num_groups)
        within, close = self._within(
            unit_length(teacher), unit_length(student), count, group
        )
        between, relations = self._between(
            teacher, student, count, group, sizes
        )
        return within + between, relations + tf.reduce_sum(count * close)

    def _within(
        self,
        teacher: tf.Tensor,
        student: tf.Tensor,
        count: tf.Tensor,
        group: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Every row's part of the entity level, and its relations there."""

        def split(x: tf.Tensor) -> list[tf.Tensor]:
            return tf.dynamic_partition(x, group, self.num_groups)

        def stitch(parts: tuple[tf.Tensor, ...]) -> tf.Tensor:
            return tf.dynamic_stitch(places, list(parts))

        parts = zip(split(teacher), split(student), split(count), strict=True)
        places = split(tf.range(tf.shape(group)[0]))
        losses, relations = zip(
            *(_positive_differences(*part) for part in parts), strict=True
        )
        return stitch(losses), stitch(relations)

    def _between(
        self,
        teacher: tf.Tensor,
        student: tf.Tensor,
        count: tf.Tensor,
        group: tf.Tensor,
        sizes: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Every row's part of the group level, and how many relations it is."""
        there = tf.cast(sizes > 0, tf.float32)
        groups, rows = tf.reduce_sum(there), tf.reduce_sum(count)

        def prototypes(features: tf.Tensor) -> tf.Tensor:
            total = tf.math.unsorted_segment_sum(
                features * count[:, tf.newaxis], group, self.num_groups
            )
            return tf.math.divide_no_nan(total, sizes[:, tf.newaxis])

        def cosines(features: tf.Tensor) -> tf.Tensor:
            middle = unit_length(tf.stop_gradient(prototypes(features)))
            other = middle if self.level == "prototypes" else features
            return tf.matmul(unit_length(other), middle, transpose_b=True)

        squared = tf.square(cosines(teacher) - cosines(student)) * there
        if self.level == "entities":
            return tf.reduce_sum(squared, axis=1), rows * groups
        total = tf.reduce_sum(squared * there[:, tf.newaxis])
        share = tf.math.divide_no_nan(total, rows)
        return tf.fill(tf.shape(count), share), tf.square(groups)

    def _assignment(
        self,
        teacher: tf.Tensor,
        student: tf.Tensor,
        weight: tf.Tensor,
        step: tf.Tensor | int,
    ) -> tf.Tensor:
        most = self.assignment_rows or tf.size(weight)
        places = first_counted(weight, most)
        picked = tf.gather(weight, places)
        teacher, student = (
            tf.gather(teacher, places),
            tf.gather(student, places),
        )
        shares = self.shares(self.assignment(teacher), picked, step)
        losses = tf.reduce_sum(
            tf.square(teacher - self.networks(student, shares)), axis=1
        )
        return spread(losses, places, weight)


def _squared_differences(
    teacher: tf.Tensor, student: tf.Tensor, count: tf.Tensor
) -> tf.Tensor:
    r"""$\sum_j c_j (t_i^\top t_j - s_i^\top s_j)^2$ for every row $i$."""

    def squares(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        # sum_j c_j (l_i . l_j)(r_i . r_j) = l_i^T (sum_j c_j l_j r_j^T) r_i
        inner = tf.matmul(left * count[:, tf.newaxis], right, transpose_a=True)
        return tf.reduce_sum(tf.matmul(left, inner) * right, axis=1)

    return (
        squares(teacher, teacher)
        - 2.0 * squares(teacher, student)
        + squares(student, student)
    )


def _positive_differences(
    teacher: tf.Tensor, student: tf.Tensor, count: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    r"""$\sum_j c_j (t_i^\top t_j - s_i^\top s_j)^2$ where the first is above 0.

    Returns:
        Two `[rows]`: the sums, and how many terms they have.
    """
    wanted, found = (
        tf.matmul(x, x, transpose_b=True) for x in (teacher, student)
    )
    # NaN is not below: it is kept, so that it is seen.
    kept = tf.where(wanted <= 0.0, 0.0, 1.0) * count
    squared = tf.where(kept > 0.0, tf.square(wanted - found), 0.0)
    return tf.reduce_sum(squared, axis=1), tf.reduce_sum(kept, axis=1)
