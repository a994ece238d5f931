"""Retrievers and rankers in pairs, each measured once and kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import numpy as np
from tqdm import tqdm

from kd_tfrs.evaluation.retrieval import SavedModelScorer, Scorer
from kd_tfrs.export.ranking.client import SavedModelRanker
from kd_tfrs.serving import Candidates, Ranker, Recommender
from kd_tfrs.workflow.chain import Chain, Made, Stage
from kd_tfrs.workflow.pipeline.config import PipelineConfig
from kd_tfrs.workflow.pipeline.quality import (
    KS,
    accuracy,
    choose_weight,
    summary,
)
from kd_tfrs.workflow.pipeline.sides import (
    SHIPPED,
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
        weighed_as: the pair whose `--retrieval_weight` is chosen on
            validation events and taken; `None` takes the ranker's order.
    """

    title: str
    retrieval: str
    ranking: str | None
    weighed_as: str | None = None


PAIRS = {
    "popularity": Pair("popularity", "popularity", None),
    "teacher_retrieval": Pair("teacher retrieval alone", "teacher", None),
    "student_retrieval": Pair("student retrieval alone", SHIPPED, None),
    "teacher_teacher": Pair("teacher + teacher", "teacher", "teacher"),
    "teacher_student": Pair("teacher + student", "teacher", SHIPPED),
    "student_teacher": Pair("student + teacher", SHIPPED, "teacher"),
    "alone_alone": Pair("undistilled + undistilled", "student", "student"),
    "distilled_distilled": Pair(
        "distilled + distilled", "distilled", "distilled"
    ),
    "student_student": Pair("student + student", SHIPPED, SHIPPED),
    "student_litert": Pair("student + student, LiteRT", SHIPPED, "litert"),
    "exports": Pair("exports of the students", _EXPORT, _EXPORT),
    "teacher_blend": Pair(
        "teacher + teacher, blended", "teacher", "teacher", "teacher_blend"
    ),
    "student_blend": Pair(
        "student + student, blended", SHIPPED, SHIPPED, "student_blend"
    ),
    "exports_blend": Pair(
        "exports of the students, blended", _EXPORT, _EXPORT, "student_blend"
    ),
}


class PipelineStages(Chain):
    """Every pair of a retriever and a ranker, with the same requests.

    The student is the form of it that its run exports. A pair whose stages have
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
    def stages(self) -> tuple[Stage, ...]:
        """See `Chain.stages`."""
        return tuple(
            Stage(name, partial(self._measure, name))
            for name, pair in PAIRS.items()
            if self.retrieval.has(pair.retrieval)
            and (pair.ranking is None or self.ranking.has(pair.ranking))
        )

    @property
    def title(self) -> str:
        """See `Chain.title`."""
        requests = self.requests
        return (
            f"{self.retrieval.chain.title}; {len(requests):,} users, "
            f"{int((~requests.known).sum()):,} of them new, with "
            f"{int(requests.data.relevant.sum()):,} relevant test items"
        )

    @cached_property
    def requests(self) -> Requests:
        """The test requests and their relevant items."""
        return self._requests("test")

    @cached_property
    def validation_requests(self) -> Requests:
        """The requests on which the weight of a blend is chosen."""
        return self._requests("validation")

    def _requests(self, part: str) -> Requests:
        context = self.config.pipeline.context
        return make_requests(self.retrieval, self.ranking, context, part)

    @property
    def length(self) -> int:
        """Items of a list that is measured."""
        return min(max(KS), self.config.pipeline.num_retrieved)

    def _measure(self, stage: str) -> Made:
        pair, requests = PAIRS[stage], self.requests
        ids, scores = self._lists(stage)
        data = requests.data
        ranked = data.ranked(ids, scores)
        per_user = accuracy(
            data.hits(ranked), self._found(pair.retrieval), data.relevant
        )
        row = {
            "stage": stage,
            **dataclasses.asdict(pair),
            "retrieval_weight": self.retrieval_weight(stage),
            **summary(per_user, requests.known, self.config.seed),
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
        """Both steps of a pair behind one call."""
        return self._recommender(stage, self.retrieval_weight(stage) or 0.0)

    def _recommender(self, stage: str, weight: float) -> Recommender:
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
            weight,
        )

    def retrieval_weight(self, stage: str) -> float | None:
        """The retrieval's share in a pair's order.

        Args:
            stage: a pair.

        Returns:
            What was given, or chosen on the validation events once; `None`
            of a pair that is not blended.
        """
        weighed = PAIRS[stage].weighed_as
        if weighed is None:
            return None
        given = self.config.pipeline.retrieval_weight
        if given is not None:
            return given
        return self.weighing(weighed)["retrieval_weight"]

    def weighing(self, stage: str) -> dict[str, Any]:
        """The result of `choose_weight` for a blended pair, kept on disk."""
        path = f"stages/{stage}.weight.json"
        kept = self.run.read_json(path)
        if kept is None:
            requests = self.validation_requests
            recommender = self._recommender(stage, 0.0)

            def retrieve(*request: Any) -> tuple[np.ndarray, ...]:
                found = recommender.candidates(*request)
                return found.ids, found.retrieval_scores, found.ranking_scores

            candidates = Candidates(*self._in_blocks(stage, retrieve, requests))
            kept = choose_weight(candidates, requests.data)
            self.run.write_json(path, kept)
        return kept

    def weighings(self) -> dict[str, dict[str, Any]]:
        """The results of `weighing` for the pairs that are done."""
        if self.config.pipeline.retrieval_weight is not None:
            return {}
        names = [n for n in PAIRS if PAIRS[n].weighed_as == n]
        return {n: self.weighing(n) for n in names if self.is_done(n)}

    def contexts(self, stage: str, requests: Requests) -> list[dict[str, Any]]:
        """The context of the event for the ranker of a pair, by user."""
        source = PAIRS[stage].ranking
        # The export looks at what the model looks at that it was made from.
        model = "student_student" if source == _EXPORT else stage
        ranker = self._recommender(model, 0.0).ranking
        return requests.contexts_for(ranker.context_names)

    def _lists(self, stage: str) -> tuple[np.ndarray, ...]:
        """Ids and scores, `[users, length]`."""
        data, pair = self.requests.data, PAIRS[stage]
        if pair.ranking is None:
            return self.scorer(pair.retrieval).recommend(
                data.users, self.length, data.exclusions
            )
        recommender = self.recommender(stage)

        def recommend(users: Any, *request: Any) -> tuple[np.ndarray, ...]:
            return recommender.recommend_many(users, self.length, *request)

        return self._in_blocks(stage, recommend, self.requests)

    def _in_blocks(
        self,
        stage: str,
        call: Callable[..., tuple[np.ndarray, ...]],
        requests: Requests,
    ) -> tuple[np.ndarray, ...]:
        """Calls a function for some users at a time, with their contexts."""
        data, contexts = requests.data, self.contexts(stage, requests)
        blocks = []
        starts = range(0, len(data.users), _BLOCK)
        for i in tqdm(starts, desc=stage, unit="block", leave=False):
            end = min(i + _BLOCK, len(data.users))
            exclusions = data.exclusions.block(i, end)
            blocks.append(call(data.users[i:end], exclusions, contexts[i:end]))
        return tuple(np.concatenate(b) for b in zip(*blocks, strict=True))

    def _found(self, source: str) -> np.ndarray:
        """`[users, num_retrieved]` whether what was retrieved is relevant."""
        data = self.requests.data
        found = self.scorer(source).recommend(
            data.users, self.config.pipeline.num_retrieved, data.exclusions
        )
        return data.hits(data.ranked(*found))
