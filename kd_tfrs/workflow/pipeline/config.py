"""The options of an end-to-end measurement, with help beside them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from kd_tfrs.workflow.options import Checked, FlatConfig, option


@dataclasses.dataclass(frozen=True)
class PipelineOptions(Checked):
    """Which two runs are put together, and their requests."""

    retrieval_run: str | None = option(
        None,
        "Folder of a finished retrieval run of experiments/distill.py, with "
        "--split=time.",
    )
    ranking_run: str | None = option(
        None, "Folder of a finished run with --task=ranking, on the same data."
    )
    num_retrieved: int = option(
        300, "Candidates that are retrieved, and ranked.", low=10
    )
    context: str = option(
        "first_event",
        "Context of a request (hour, weekday, columns "
        "of the event): that of the user's first held-out event, or none.",
        choices=("first_event", "none"),
    )
    retrieval_weight: float | None = option(
        None,
        "The retrieval's share in the order of blended pairs; chosen for each "
        "of them on the validation events if unset.",
        low=0.0,
        high=1.0,
    )
    latency_repeats: int = option(
        200, "Whole calls that are timed of each configuration.", low=1
    )


OPTIONS = PipelineOptions()


@dataclasses.dataclass(frozen=True)
class PipelineConfig(FlatConfig):
    """An end-to-end measurement, but for the place where it is kept.

    Args:
        seed: of the bootstrap.
        pipeline: see `PipelineOptions`.

    Example:
    ```python
    PipelineConfig(pipeline=PipelineOptions("runs/films", "runs/ranker"))
    ```
    """

    task: ClassVar[str] = "pipeline"
    sections: ClassVar[Mapping[str, str]] = {"pipeline": ""}

    seed: int = 0
    pipeline: PipelineOptions = OPTIONS

    def flat(self) -> dict[str, Any]:
        """Every option by its flag's name, the task first."""
        return {"task": self.task, **super().flat()}
