"""The report of a retrieval run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from kd_tfrs.evaluation import paired_test
from kd_tfrs.evaluation.report import METRICS
from kd_tfrs.workflow.cautions import Cautions
from kd_tfrs.workflow.report import PAIRS, Metrics, Report, Row, tested_pair
from kd_tfrs.workflow.retrieval.latencies import LARGE_CATALOGUE
from kd_tfrs.workflow.retrieval.stages import Stages

TESTED = ("ndcg@20", "recall@50")
_SHOWN = ("recall@10", "recall@50", "ndcg@10", "ndcg@20")


class RetrievalReport(Report):
    """The report of one retrieval run, see `Report`.

    Args:
        chain: the stages of the run.
    """

    reference_titles: ClassVar[dict[str, str]] = {
        "popularity": "popularity",
        "als": "ALS",
    }
    watched_events = "test"
    tolerance = 0.01
    remedy = (
        "other --teacher_learning_rate, --teacher_epochs or --teacher_dropout"
    )
    times_faster = "times_faster_100k"
    where = f"with {LARGE_CATALOGUE:,} items"

    chain: Stages

    def comparisons(self) -> list[Row]:
        """See `Report.comparisons`; t-tests over the test users."""
        tests = []
        for pair in PAIRS:
            if not all(map(self.chain.is_done, pair)):
                continue
            baseline, challenger = map(self.chain.arrays, pair)
            for metric in self.metrics.tested:
                test = paired_test(baseline[metric], challenger[metric])
                row = tested_pair(pair, metric, test)
                tests.append({**row, "p_value": test.t_p_value})
        return tests

    def early_cautions(self, cautions: Cautions, rows: Sequence[Row]) -> None:
        """See `Report.early_cautions`; also ratings that are not read."""
        cautions.add(self.chain.label_warning)
        super().early_cautions(cautions, rows)

    def further(self) -> dict[str, Any]:
        """See `Report.further`."""
        return {"method": self.chain.learner.method}

    @property
    def metrics(self) -> Metrics:
        """See `Report.metrics`."""
        monitor = self.chain.monitor
        recall = "recall@10" if monitor.endswith("@10") else "recall@50"
        return Metrics(
            table=METRICS,
            console=(recall, monitor if monitor != recall else "ndcg@10"),
            tested=tuple(dict.fromkeys([monitor, *TESTED])),
            shown=_SHOWN,
            curves=("recall@50", "ndcg@20"),
            title=monitor.replace("ndcg", "NDCG").replace("recall", "Recall"),
        )

    def note(self) -> str:
        """See `Report.note`."""
        return (
            "Model bytes are those of the tables that are served, as they are "
            "stored; size and gzip are those of the whole version folder. "
            "Latency is that of one user's recommendations in TensorFlow's C "
            "library on one thread, stages measured in turns, with the items "
            f"of the data and with {LARGE_CATALOGUE:,} items."
        )
