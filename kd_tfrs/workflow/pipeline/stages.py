"""Retrievers and rankers in pairs, each measured once and kept."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import Any

import numpy as np
from tqdm import tqdm

from kd_tfrs.evaluation import SavedModelScorer, Scorer
from kd_tfrs.export.ranking_client import SavedModelRanker
from kd_tfrs.serving import Ranker, Recommender
from kd_tfrs.workflow.chain import Chain, Made
from kd_tfrs.workflow.pipeline.config import PipelineConfig
from kd_tfrs.workflow.pipeline.quality import KS, accuracy, summary
from kd_tfrs.workflow.pipeline.sides import (
    RankingSide,
    RetrievalSide,
    check_same_data,
)
from kd_tfrs.workflow.pipeline.truth import Requests, make_requests
from kd_tfrs.workflow.run import Run

_EXPORT = "saved_model"
_BLOCK = 16


@dataclasses.dataclass(frozen=True)
class Pair:
    """A retriever and a ranker.

    Args:
        title: for the table.
        retrieval: a stage of the retrieval run, or "popularity".
        ranking: a stage of the ranking run; `None` leaves the order of the
            retrieval.
    """

    title: str
    retrieval: str
    ranking: str | None


PAIRS = {
    "popularity": Pair("popularity", "popularity", None),
    "teacher_retrieval": Pair("teacher retrieval alone", "teacher", None),
    "student_retrieval": Pair("student retrieval alone", "pruned", None),
    "teacher_teacher": Pair("teacher + teacher", "teacher", "teacher"),
    "teacher_student": Pair("teacher + student", "teacher", "pruned"),
    "student_teacher": Pair("student + teacher", "pruned", "teacher"),
    "alone_alone": Pair("undistilled + undistilled", "student", "student"),
    "distilled_distilled": Pair(
        "distilled + distilled", "distilled", "distilled"
    ),
    "student_student": Pair("student + student", "pruned", "pruned"),
    "student_int8": Pair("student + student, int8", "pruned", "int8"),
    "exports": Pair("exports of the students", _EXPORT, _EXPORT),
}


class PipelineStages(Chain):
    """Every pair of a retriever and a ranker, asked by the same users.

    The student is the pruned one, which is exported. A pair whose stages have
    not been done is left out.

    Args:
        run: where everything is kept.
        retrieval: the retrieval run.
        ranking: the ranking run.

    Raises:
        UserError: the runs are not of the same data and split.

    Example:
    ```python
    chain = PipelineStages(run, retrieval, ranking)
    chain.result("teacher_teacher")["metrics"]["ndcg@10"]
    ```
    """

    def __init__(
        self, run: Run, retrieval: RetrievalSide, ranking: RankingSide
    ) -> None:
        super().__init__(run)
        check_same_data(retrieval, ranking)
        self.config: PipelineConfig
        self.retrieval, self.ranking = retrieval, ranking
        run.check_data(retrieval.fingerprint)
        self._scorers: dict[str, Scorer] = {}
        self._rankers: dict[str, Ranker] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """See `Chain.names`."""
        return tuple(
            name
            for name, pair in PAIRS.items()
            if self.retrieval.has(pair.retrieval)
            and (pair.ranking is None or self.ranking.has(pair.ranking))
        )

    @property
    def title(self) -> str:
        """See `Chain.title`."""
        asked = self.requests
        return (
            f"{self.retrieval.chain.title}; {len(asked):,} users with "
            f"{int(asked.data.relevant.sum()):,} relevant test items ask, "
            f"{int((~asked.known).sum()):,} of them new"
        )

    @cached_property
    def requests(self) -> Requests:
        """Who asks, and what he should get."""
        return make_requests(
            self.retrieval, self.ranking, self.config.pipeline.context
        )

    @property
    def length(self) -> int:
        """Items of a list that is measured."""
        return min(max(KS), self.config.pipeline.num_retrieved)

    def needs(self, stage: str) -> tuple[str, ...]:
        """See `Chain.needs`."""
        return ()

    def make(self, stage: str) -> Made:
        """See `Chain.make`."""
        pair, asked = PAIRS[stage], self.requests
        ids, scores = self._lists(stage)
        data = asked.data
        ranked = data.ranked(ids, scores)
        per_user = accuracy(
            data.hits(ranked), self._found(pair.retrieval), data.relevant
        )
        row = {
            "stage": stage,
            **dataclasses.asdict(pair),
            **summary(per_user, asked.known, self.config.seed),
        }
        return row, {**per_user, "items": ranked, "scores": scores}, []

    def per_user(self, stage: str) -> dict[str, np.ndarray]:
        """Metrics of a finished pair by user, `[users]` each."""
        names = self.result(stage)["metrics"]
        return {k: v for k, v in self.arrays(stage).items() if k in names}

    def scorer(self, stage: str) -> Scorer:
        """What retrieves, made once."""
        if stage not in self._scorers:
            made: Any = self.retrieval
            if stage == _EXPORT:
                self._scorers[stage] = SavedModelScorer(made.export)
            else:
                self._scorers[stage] = made.scorer(stage)
        return self._scorers[stage]

    def recommender(self, stage: str) -> Recommender:
        """Both steps of a pair behind one call.

        Args:
            stage: a pair that ranks.

        Returns:
            What answers; its models are loaded once.
        """
        pair, made = PAIRS[stage], self._rankers
        if pair.ranking not in made:
            made[pair.ranking] = (
                SavedModelRanker(self.ranking.export)
                if pair.ranking == _EXPORT
                else self.ranking.ranker(pair.ranking)
            )
        return Recommender(
            self.scorer(pair.retrieval),
            made[pair.ranking],
            self.config.pipeline.num_retrieved,
        )

    def contexts(self, stage: str) -> list[dict[str, Any]]:
        """What the ranker of a pair is told of the event, by user."""
        source = PAIRS[stage].ranking
        # The export looks at what the model looks at that it was made from.
        model = "student_student" if source == _EXPORT else stage
        ranker = self.recommender(model).ranking
        return self.requests.contexts_for(ranker.context_names)

    def _lists(self, stage: str) -> tuple[np.ndarray, np.ndarray]:
        """Ids and scores, `[users, length]`."""
        data, pair = self.requests.data, PAIRS[stage]
        if pair.ranking is None:
            return self.scorer(pair.retrieval).recommend(
                data.users, self.length, data.exclusions
            )
        recommender, contexts = self.recommender(stage), self.contexts(stage)
        starts = range(0, len(data.users), _BLOCK)
        blocks = [
            recommender.recommend_many(
                data.users[i : i + _BLOCK],
                self.length,
                data.exclusions.block(i, min(i + _BLOCK, len(data.users))),
                contexts[i : i + _BLOCK],
            )
            for i in tqdm(starts, desc=stage, unit="block", leave=False)
        ]
        ids, scores = zip(*blocks, strict=True)
        return np.concatenate(ids), np.concatenate(scores)

    def _found(self, source: str) -> np.ndarray:
        """`[users, num_retrieved]` whether what was retrieved is relevant."""
        data = self.requests.data
        found = self.scorer(source).recommend(
            data.users, self.config.pipeline.num_retrieved, data.exclusions
        )
        return data.hits(data.ranked(*found))
