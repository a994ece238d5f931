"""Options of compression: how the student is pruned, which form ships."""

from __future__ import annotations

import dataclasses

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.options import Checked, option

# The forms of the distilled student that may ship, and the stage whose
# weights each one stores.
FORM_SOURCES = {
    "distilled": "distilled",
    "int8": "distilled",
    "pruned": "pruned",
    "pruned_int8": "pruned",
}


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
        choices=("auto", *FORM_SOURCES),
    )


PRUNING = PruningOptions()
SHIPPING = ShippingOptions()
