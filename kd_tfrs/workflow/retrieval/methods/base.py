"""What a method of distillation is, and what it may build on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from kd_tfrs.distillation import retrieval
from kd_tfrs.workflow.retrieval.config import DistillationOptions

if TYPE_CHECKING:
    import tensorflow as tf

    from kd_tfrs.distillation import DistillationTerm
    from kd_tfrs.distillation.retrieval import CandidateSampler, FeaturePair
    from kd_tfrs.distillation.schedules import Scheduled

SIDES = ("query", "candidate")
# Sizes where neither the user nor the method asks for others.
_SIZES = {"top_k": 200, "num_random": 512, "num_queries": 256}


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a method may look at when it makes its terms.

    Args:
        options: what was asked for.
        num_steps: training steps in all.
        user_rows: `[events]` user rows of the training events.
        item_rows: `[events]` their item rows.
        num_users: user rows, the unknown one counted.
        num_items: item rows.
        seen: training items by user, where lists leave them out.
        num_teachers: members of the teacher, where it is an ensemble.
    """

    options: DistillationOptions
    num_steps: int
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

    def temperature(self, default: float) -> Scheduled:
        """The temperature that was asked for, or a method's own."""
        options = self.options
        start = default if options.temperature is None else options.temperature
        if options.final_temperature is None:
            return start
        import tensorflow as tf

        return tf.keras.optimizers.schedules.PolynomialDecay(
            start, self.num_steps, options.final_temperature
        )

    def candidates(self, own: str = "top_k") -> CandidateSampler:
        """The candidates that were asked for, or a method's own.

        Args:
            own: one of `DistillationOptions.candidates`, but "auto".

        Returns:
            A candidate sampler.
        """
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
            return retrieval.RankSampled(
                num_interesting=min(options.num_interesting, k),
                k=k,
                rank_decay=options.rank_decay,
                num_random=options.num_random,
                num_queries=options.num_queries,
                seen=self.seen,
            )
        return retrieval.TeacherTopK(
            k, options.num_random, options.num_queries, self.seen
        )

    def item_side(self) -> CandidateSampler:
        """The teacher's best users for some items."""
        from kd_tfrs.distillation.retrieval.teachers import transpose_seen

        options = self.options
        k = min(options.top_k, self.num_users - 1)
        return retrieval.ItemSide(
            retrieval.RankSampled(
                num_interesting=min(options.num_interesting, k),
                k=k,
                rank_decay=options.rank_decay,
                num_random=options.num_random,
                num_queries=options.num_queries,
                seen=transpose_seen(self.seen, self.num_items),
            )
        )

    def features(self, side: str) -> FeaturePair:
        """The outputs that were asked for, of one side."""
        options = self.options
        return retrieval.FeaturePair(
            side,
            options.teacher_output,
            options.student_output,
            options.num_rows,
        )


Build = Callable[[Setting], "list[DistillationTerm]"]


@dataclasses.dataclass(frozen=True)
class Method:
    """A named method: its terms, its defaults, and what may be tuned.

    Args:
        kind: response, ranking, features, relations, adversarial or adaptive.
        help: one line.
        source: paper.
        terms: makes its terms for a setting.
        defaults: options of `DistillationOptions` that differ from those
            there, and its `weight`.
        tunes: choices by option for a search.
        teacher: who teaches where nobody is named.
        use: when to take it, by what was measured here.
    """

    kind: str
    help: str
    source: str
    terms: Build
    defaults: Mapping[str, object] = dataclasses.field(default_factory=dict)
    tunes: Mapping[str, tuple] = dataclasses.field(default_factory=dict)
    teacher: str = "teacher"
    use: str = ""

    def resolve(self, options: DistillationOptions) -> DistillationOptions:
        """Fills in what was left to the method.

        Args:
            options: as they were asked for.

        Returns:
            Options without an unset size.
        """
        own = {**_SIZES, **self.defaults}
        unset = {
            name: own[name] for name in _SIZES if getattr(options, name) is None
        }
        return dataclasses.replace(options, **unset)
