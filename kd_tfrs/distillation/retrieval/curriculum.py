"""Easy to hard: a teacher's training, snapshot by snapshot, for each user."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from kd_tfrs.data.retrieval.batches import Batch
from kd_tfrs.distillation.retrieval.batch_scores import BatchScores, Selection
from kd_tfrs.distillation.retrieval.ensemble import EnsembleTeacher
from kd_tfrs.distillation.retrieval.teachers import Teacher, rank_all
from kd_tfrs.distillation.retrieval.teachers.embedding import (
    check_list_k,
    read_lists,
)
from kd_tfrs.errors import UserError

# Relevance falls to 1/e after so many ranks.
_RELEVANCE_RANKS = 10.0
_BLOCK = 1024


class TrajectoryTeacher(Teacher):
    r"""Snapshots of a teacher's training, distilled from early to final.

    Every query is at a stage $v$ and is compared with the snapshot of that
    stage. At intervals, the student's list $\pi$ is compared with the next
    snapshot's, $D = 1 - \text{NDCG@}k(\pi, E^{v+1})$, and the query advances
    when

    $$D_\text{then} / D_\text{now} > \alpha \gamma^{n}
    \quad \text{or} \quad D_\text{now} > D_\text{then}$$

    with the discrepancy $D_\text{then}$ when the stage began and the number
    $n$ of comparisons so far: the student has come closer to the next
    snapshot, or does not come closer with the present one. Until the first
    comparison all queries are at the first stage.

    For several teachers' trajectories put several of these into an
    `EnsembleTeacher`; every teacher then has stages of its own. The paper
    adds the teachers' importances by rank where the ensemble averages
    standardised scores, and changes its loss once all users are through.

    Args:
        snapshots: two or more teachers from early to final, over the same
            rows; the paper takes four, evenly spaced until convergence.
        k: length of the lists that are kept of every snapshot; at most as
            many as there are candidates are kept.
        depth: how many of a list the discrepancy counts, at most `k`.
        alpha: how much closer the student has to come, positive.
        decay: $\gamma$, what `alpha` is multiplied by at every comparison, in
            (0, 1], so that every query advances in the end.

    Raises:
        UserError: snapshots do not fit together, or a number is out of range.

    Example:
    ```python
    teacher = TrajectoryTeacher([epoch_5, epoch_10, epoch_20, epoch_40])
    term = DistillationTerm(loss, TeacherTopK(100))
    distiller = Distiller(teacher, student, term)
    advance = AdvanceCurriculum(teacher, lambda: as_teacher(student))
    distiller.fit(data, epochs=100, callbacks=[advance])
    ```

    References:
        Kang, Kweon, Lee, Lian, Xie and Yu 2023, "Distillation from
        Heterogeneous Models for Top-K Recommendation", section 4.2, dynamic
        knowledge construction. The second condition and the decay are those
        of the authors' program. We take an item's relevance from its rank in
        the snapshot's list, $2^{\exp(-\text{rank} / 10)} - 1$.
    """

    def __init__(
        self,
        snapshots: Sequence[Teacher],
        k: int = 100,
        depth: int = 50,
        alpha: float = 1.05,
        decay: float = 0.995,
    ) -> None:
        self.snapshots = _check_snapshots(snapshots)
        first = self.snapshots[0]
        super().__init__(
            first.num_queries,
            first.num_candidates,
            next((s.seen for s in self.snapshots if s.seen is not None), None),
        )
        if not 1 <= depth <= k or not alpha > 0 or not 0 < decay <= 1:
            raise UserError(
                "`depth` should be at least 1 and at most `k`, `alpha` "
                "positive and `decay` in (0, 1]. Received: `depth` = "
                f"{depth}, `k` = {k}, `alpha` = {alpha}, `decay` = {decay}."
            )
        lists = [rank_all(snapshot, k) for snapshot in self.snapshots]
        # Snapshot by snapshot, so that one row is a query at a stage.
        self._lists = tuple(
            tf.constant(np.concatenate(x)) for x in zip(*lists, strict=True)
        )
        self.depth = min(depth, self.num_candidates)
        self.alpha = alpha
        self.decay = decay
        self.state = _State(self.num_queries)

    @property
    def checkpointed(self) -> tuple[tf.Module, ...]:
        """The stages of all queries, which a checkpoint has to hold."""
        return (self.state,)

    @property
    def stage(self) -> tf.Variable:
        """`[num_queries]` int32: the snapshot of each query."""
        return self.state.stage

    def batch_scores(self, batch: Batch) -> StagedScores:
        """See `Teacher.batch_scores`."""
        return StagedScores(
            self, batch, tuple(s.batch_scores(batch) for s in self.snapshots)
        )

    def all_scores(self, query_rows: tf.Tensor) -> tf.Tensor:
        """See `Teacher.all_scores`."""
        scores = [s.all_scores(query_rows) for s in self.snapshots]
        return self.of_stage(scores, query_rows)

    def top_k(
        self, query_rows: tf.Tensor, k: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `Teacher.top_k`; of the query's stage."""
        at = tf.gather(self.stage, query_rows) * self.num_queries
        return read_lists(self._lists, at + query_rows, k)

    def check_k(self, k: int) -> None:
        """See `Teacher.check_k`."""
        check_list_k(self._lists, k)

    def of_stage(
        self, values: Sequence[tf.Tensor], query_rows: tf.Tensor
    ) -> tf.Tensor:
        """Takes every query's row from the snapshot of its stage.

        Args:
            values: `[queries, n]` of every snapshot.
            query_rows: `[queries]` int32.

        Returns:
            `[queries, n]`.
        """
        stage = tf.gather(self.stage, query_rows)
        return tf.gather(tf.stack(values, axis=1), stage, axis=1, batch_dims=1)

    def advance(self, lists: np.ndarray) -> float:
        """Compares the student with the next snapshot and advances queries.

        Args:
            lists: `[num_queries, n]` rows of the student's best unseen
                candidates, n at least `depth`.

        Returns:
            The mean stage of all queries but the unknown one.

        Raises:
            UserError: the lists do not fit.
        """
        if len(lists) != self.num_queries or lists.shape[1] < self.depth:
            raise UserError(
                f"`lists` should be {self.depth} long at least, for each of "
                f"{self.num_queries} queries. Received: {tuple(lists.shape)}."
            )
        self._advance(tf.constant(lists[:, : self.depth], tf.int32))
        return float(tf.reduce_mean(tf.cast(self.stage[1:], tf.float32)))

    @tf.function(reduce_retracing=True)
    def _advance(self, lists: tf.Tensor) -> None:
        state, last = self.state, len(self.snapshots) - 1
        stage = state.stage.value()
        now = self._gap(lists, tf.minimum(stage + 1, last))
        bar = self.alpha * self.decay ** tf.cast(state.rounds, tf.float32)
        moves = (state.gap > bar * now) | (now > state.gap)
        moves &= (stage < last) & (state.rounds > 0)
        stage += tf.cast(moves, tf.int32)
        later = self._gap(lists, tf.minimum(stage + 1, last))
        begins = moves | (state.rounds == 0)
        state.gap.assign(tf.where(begins, later, state.gap))
        state.stage.assign(stage)
        state.rounds.assign_add(1)

    def _gap(self, lists: tf.Tensor, stage: tf.Tensor) -> tf.Tensor:
        """`[num_queries]`: 1 - NDCG of the lists at a stage's snapshot."""
        gaps = []
        for start in range(0, self.num_queries, _BLOCK):
            rows = tf.range(start, min(start + _BLOCK, self.num_queries))
            at = tf.gather(stage, rows) * self.num_queries + rows
            ranked = tf.gather(self._lists[0], at)[:, : self.depth]
            counts = tf.gather(self._lists[1], at)[:, : self.depth] > -np.inf
            gaps.append(1 - _ndcg(tf.gather(lists, rows), ranked, counts))
        return tf.concat(gaps, axis=0)


class AdvanceCurriculum(tf.keras.callbacks.Callback):
    """Compares the student with its curriculum after every few epochs.

    Args:
        teacher: a `TrajectoryTeacher`, or an `EnsembleTeacher` that has some.
        student: gives the student as a Teacher that leaves out seen items;
            called at every comparison.
        every: epochs from one comparison to the next.

    Raises:
        UserError: `teacher` has no stages, or `every` is not positive.

    Example:
    ```python
    AdvanceCurriculum(
        teacher,
        lambda: TwoTowerTeacher(
            student.query_tower, student.candidate_tower, users, items,
            seen=seen,
        ),
        every=10,
    )
    ```
    """

    def __init__(
        self,
        teacher: TrajectoryTeacher | EnsembleTeacher,
        student: Callable[[], Teacher],
        every: int = 10,
    ) -> None:
        super().__init__()
        members = teacher.teachers or (teacher,)
        self._staged = [x for x in members if isinstance(x, TrajectoryTeacher)]
        if not self._staged or every < 1:
            raise UserError(
                "`teacher` should be a TrajectoryTeacher or have one, and "
                "`every` should be positive. Received: "
                f"{type(teacher).__name__} and `every` = {every}."
            )
        self._teacher = teacher
        self._student = student
        self._every = every

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Advances, and logs the mean stage as `curriculum_stage`."""
        if (epoch + 1) % self._every:
            return
        depth = max(teacher.depth for teacher in self._staged)
        lists, _ = rank_all(self._student(), depth)
        stages = [teacher.advance(lists) for teacher in self._staged]
        if isinstance(self._teacher, EnsembleTeacher):
            self._teacher.refresh()
        if logs is not None:
            logs["curriculum_stage"] = float(np.mean(stages))


class _State(tf.Module):
    """The stage of every query, and its first distance to the next stage."""

    def __init__(self, num_queries: int) -> None:
        super().__init__(name="curriculum")
        self.stage = tf.Variable(
            tf.zeros(num_queries, tf.int32), trainable=False
        )
        self.gap = tf.Variable(tf.ones(num_queries), trainable=False)
        self.rounds = tf.Variable(0, trainable=False)


@dataclasses.dataclass(frozen=True)
class StagedScores(BatchScores):
    """Scores of a trajectory for a batch, from the snapshot of each query.

    Args:
        teacher: the trajectory.
        batch: see `RetrievalBatches`.
        members: scores of its snapshots.
    """

    teacher: TrajectoryTeacher
    batch: Batch
    members: tuple[BatchScores, ...]

    def scores(self, selection: Selection) -> tf.Tensor:
        """Scores of the selected candidates, see `EmbeddingScores`."""
        if selection.reverse:
            raise UserError(
                "A TrajectoryTeacher should score the items of a user: its "
                "stages are the users'. Received: candidates that are users "
                "of an item. Give that loss a teacher of its own."
            )
        # A list joined before the query advanced is of another stage.
        unscored = selection._replace(list_scores=None)
        return self.teacher.of_stage(
            [member.scores(unscored) for member in self.members],
            tf.gather(self.batch["query_row"], selection.query),
        )


def _ndcg(lists: tf.Tensor, ranked: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """NDCG of lists by another list's ranks, `[queries]`.

    Args:
        lists: `[queries, depth]` rows to evaluate.
        ranked: `[queries, depth]` rows, the most relevant first.
        counts: `[queries, depth]` bool, false where `ranked` is too short.
    """
    ranks = tf.range(ranked.shape[1], dtype=tf.float32)
    gain = 2.0 ** tf.exp(-ranks / _RELEVANCE_RANKS) - 1.0
    gain = tf.where(counts, gain, 0.0)
    discount = tf.math.log(2.0) / tf.math.log(ranks + 2.0)
    same = tf.cast(lists[:, :, None] == ranked[:, None, :], tf.float32)
    gains = tf.einsum("qlr,qr,l->q", same, gain, discount)
    return tf.math.divide_no_nan(gains, tf.linalg.matvec(gain, discount))


def _check_snapshots(snapshots: Sequence[Teacher]) -> tuple[Teacher, ...]:
    snapshots = tuple(snapshots)
    shapes = {(s.num_queries, s.num_candidates) for s in snapshots}
    if len(snapshots) < 2 or len(shapes) > 1:
        raise UserError(
            "`snapshots` should be two or more teachers over the same queries "
            f"and candidates. Received: {len(snapshots)} of {sorted(shapes)}."
        )
    return snapshots
