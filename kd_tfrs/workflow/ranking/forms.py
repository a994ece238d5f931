"""The forms in which a distilled ranker may ship, and the one that does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kd_tfrs.errors import UserError
from kd_tfrs.export.ranking.stored_layers import rounded_network
from kd_tfrs.models.ranking import RankingModel
from kd_tfrs.workflow.choice import AUTO, Candidate, Choice, choose
from kd_tfrs.workflow.retrieval.config import ShippingOptions
from kd_tfrs.workflow.retrieval.forms import FORMS
from kd_tfrs.workflow.training import ERRORS

# Forms that no training makes.
ROUNDED = tuple(name for name, (source, _) in FORMS.items() if name != source)


def as_stored(model: RankingModel, form: str) -> RankingModel:
    """A trained model with the values that come back from the disk.

    Args:
        model: of the stage that the form is made from; it stays as it is.
        form: one of `FORMS`.

    Returns:
        The model itself where nothing is rounded.
    """
    storage = FORMS[form][1]
    if not storage.int8:
        return model
    return model.with_network(rounded_network(model.network, storage))


def needed_forms(options: ShippingOptions) -> tuple[str, ...]:
    """The forms that the choice is made of, the reference first.

    Args:
        options: a form that was asked for is the only other one.

    Returns:
        Names among `FORMS`.
    """
    if options.ship == AUTO:
        return tuple(FORMS)
    return tuple(dict.fromkeys(["distilled", options.ship]))


def chance_of(metric: str) -> float:
    """The value of random scores, see `relative_loss`."""
    return 0.5 if metric.split("/")[-1] in ("auc", "gauc") else 0.0


def choose_form(
    result: Callable[[str], Mapping[str, Any]],
    options: ShippingOptions,
    monitor: str,
) -> Choice:
    """Chooses what ships by the rows of the forms.

    Args:
        result: gives the row of a stage, with `validation` and
            `model_bytes`.
        options: the limit, or what was asked for.
        monitor: the validation metric that decides.

    Returns:
        See `choose`.

    Raises:
        UserError: a row is of an older version, which did not keep them.
    """
    rows = {name: result(name) for name in needed_forms(options)}
    for name, row in rows.items():
        if monitor not in row.get("validation", {}):
            raise UserError(
                f"The stage {name} should hold the validation {monitor}. "
                f"Received: a row with {sorted(row)}. It is of an older "
                "version: give another `--run_dir`."
            )
    return choose(
        [
            Candidate(name, row["validation"][monitor], row["model_bytes"])
            for name, row in rows.items()
        ],
        max_loss=options.max_loss,
        metric=monitor,
        is_error=monitor in ERRORS,
        chance=chance_of(monitor),
        asked=options.ship,
    )
