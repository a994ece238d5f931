"""Ranking models with the values of the form that ships."""

from __future__ import annotations

from kd_tfrs.export.ranking.stored_layers import rounded_network
from kd_tfrs.models.ranking import RankingModel
from kd_tfrs.workflow.forms import FORMS


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
