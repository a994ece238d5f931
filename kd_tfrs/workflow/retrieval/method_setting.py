"""What a retrieval method builds its terms from."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from kd_tfrs.distillation import retrieval
from kd_tfrs.workflow import methods

if TYPE_CHECKING:
    import tensorflow as tf

    from kd_tfrs.distillation.retrieval import (
        CandidateSampler,
        FeaturePair,
        ListFeatures,
    )


@dataclasses.dataclass(frozen=True)
class Setting(methods.Setting):
    """The retrieval run for which a method makes its terms.

    Args:
        options: `DistillationOptions`.
        num_steps: training steps in all.
        user_rows: `[events]` user rows of the training events.
        item_rows: `[events]` their item rows.
        num_users: user rows, the unknown one counted.
        num_items: item rows.
        seen: training items by user, where lists leave them out.
        num_teachers: members of the teacher, where it is an ensemble.
    """

    user_rows: np.ndarray
    item_rows: np.ndarray
    num_users: int
    num_items: int
    seen: tf.RaggedTensor | None = None
    num_teachers: int = 1

    @property
    def item_events(self) -> np.ndarray:
        """`[num_items]` training events of every item."""
        return np.bincount(self.item_rows, minlength=self.num_items)

    def neighbours(self, side: str) -> tf.RaggedTensor:
        """Rows of the other side that a row has training events with."""
        import tensorflow as tf

        mine, others, count = self.user_rows, self.item_rows, self.num_users
        if side == "candidate":
            mine, others, count = others, mine, self.num_items
        order = np.argsort(mine, kind="stable")
        return tf.RaggedTensor.from_value_rowids(
            others[order].astype(np.int32),
            mine[order].astype(np.int64),
            nrows=count,
        )

    def candidates(self, own: str = "top_k") -> CandidateSampler:
        """The candidates that were given, or the default of a method."""
        options = self.options
        candidates = own if options.candidates == "auto" else options.candidates
        if candidates == "in_batch":
            return retrieval.InBatch()
        if candidates == "sampled":
            return retrieval.Sampled(options.num_random)
        if candidates == "all":
            return retrieval.AllCandidates(options.num_queries, self.seen)
        k = min(options.top_k, self.num_items)
        if candidates == "ranked":
            return self._rank_sampled(self.num_items, self.seen, options)
        return retrieval.TeacherTopK(
            k, options.num_random, options.num_queries, self.seen
        )

    def item_side(self) -> CandidateSampler:
        """The users of some items with the highest scores of the teacher.

        Of drawn and of random ones half as many as the user side has.
        """
        from kd_tfrs.distillation.retrieval.teachers import transpose_seen

        options = dataclasses.replace(
            self.options,
            num_interesting=max(1, self.options.num_interesting // 2),
            num_random=self.options.num_random // 2,
        )
        seen = transpose_seen(self.seen, self.num_items)
        return retrieval.ItemSide(
            self._rank_sampled(self.num_users - 1, seen, options)
        )

    def features(self, side: str) -> FeaturePair:
        """The outputs that are compared, of one side."""
        options = self.options
        return retrieval.FeaturePair(
            side,
            options.teacher_output,
            options.student_output,
            options.num_rows,
        )

    def list_features(self, count: int) -> ListFeatures:
        """The outputs of users, of items of their lists and of random ones.

        Args:
            count: items drawn from the list of a user at a step; beside them
                it has one random item.
        """
        options = self.options
        k = min(options.top_k, self.num_items)
        return retrieval.ListFeatures(
            retrieval.RankSampled(
                min(count, k),
                k,
                options.rank_decay,
                num_random=options.num_queries,
                num_queries=options.num_queries,
            )
        )

    def _rank_sampled(
        self, count: int, seen: tf.RaggedTensor | None, options: Any
    ) -> CandidateSampler:
        # Random candidates are those beyond the list: some have to be left.
        most = max(1, count // 2) if options.num_random else count
        k = min(options.top_k, most)
        return retrieval.RankSampled(
            num_interesting=min(options.num_interesting, k),
            k=k,
            rank_decay=options.rank_decay,
            num_random=options.num_random,
            num_queries=options.num_queries,
            seen=seen,
        )
