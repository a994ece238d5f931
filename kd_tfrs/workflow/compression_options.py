"""Options of compression: how the student is pruned, which form ships."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.options import Checked, option

if TYPE_CHECKING:
    from kd_tfrs.export import Storage
    from kd_tfrs.workflow.training import Learned, Watch


def _prune(learner: Any, watch: Watch | None) -> Learned:
    # Here, so that `--help` does not wait for TensorFlow.
    from kd_tfrs.workflow.pruning import prune

    return prune(learner, watch)


@dataclasses.dataclass(frozen=True)
class Form:
    """One step of compression: a form of the distilled student.

    Args:
        source: the stage that is done before.
        compress: trains it with a `Learner` that has the weights of `source`;
            `None` where it stores the weights of `source` in another way.
        int8: whether weights are stored as 8-bit integers.
        sparse: whether only weights that are not zero are stored.
    """

    source: str
    compress: Callable[[Any, Watch | None], Learned] | None = None
    int8: bool = False
    sparse: bool = False

    @property
    def is_trained(self) -> bool:
        """Whether it has weights of its own."""
        return self.compress is not None or self.source == "teacher"


# By stage, in the order of the table; the first is the reference. A further
# step of compression is one more element.
FORMS = {
    "distilled": Form("teacher"),
    "int8": Form("distilled", int8=True),
    "pruned": Form("distilled", _prune, sparse=True),
    "pruned_int8": Form("pruned", int8=True, sparse=True),
}


def stored_as(stage: str) -> tuple[str, Storage]:
    """The stage that trains the weights of a stage, and their storage."""
    from kd_tfrs.export import FLOAT32, Storage

    form = FORMS.get(stage)
    if form is None:
        return stage, FLOAT32
    storage = Storage(int8=form.int8, sparse=form.sparse)
    return stage if form.is_trained else form.source, storage


@dataclasses.dataclass(frozen=True)
class PruningOptions(Checked):
    """How the distilled student is pruned."""

    sparsities: tuple[float, ...] = option(
        (0.25, 0.5, 0.75),
        "Shares of zeros, ascending and comma separated. The student is "
        "pruned to the first and then on to the next ones, as long as it "
        "stays within --max_loss on validation events.",
        low=0.01,
        high=0.99,
    )
    schedule: str = option(
        "polynomial",
        "How the share grows.",
        choices=("polynomial", "constant"),
    )
    epochs: int = option(
        4, "Epochs of pruning to each sparsity, while distilling.", low=1
    )
    learning_rate: float | None = option(
        None, "Step size; half the distilled student's if unset.", low=1e-8
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        ascending = tuple(sorted(set(self.sparsities)))
        if not self.sparsities or self.sparsities != ascending:
            shown = ",".join(map(str, self.sparsities)) or "none"
            raise UserError(
                "`sparsities` should be one or more ascending shares. "
                f"Received: {shown}. Write them as 0.25,0.5."
            )


@dataclasses.dataclass(frozen=True)
class ShippingOptions(Checked):
    """Which form of the distilled student is exported."""

    max_loss: float = option(
        0.01,
        "Largest relative loss of the validation metric, against the "
        "distilled student, that a smaller form may have: of an AUC, of what "
        "is above 0.5; of retrieval, at the upper end of its one-sided 95 % "
        "interval.",
        low=0.0,
        high=1.0,
    )
    ship: str = option(
        "auto",
        "auto: the smallest form within --max_loss; else the form that is "
        "exported whatever it loses.",
        choices=("auto", *FORMS),
    )


PRUNING = PruningOptions()
SHIPPING = ShippingOptions()
