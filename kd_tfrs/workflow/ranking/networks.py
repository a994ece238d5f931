"""From options to the configurations of ranking networks."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

from kd_tfrs.errors import UserError
from kd_tfrs.models.ranking.config import OWN_OPTIONS, RankerConfig
from kd_tfrs.workflow.options import as_flags
from kd_tfrs.workflow.ranking.options import RankerOptions


def ranker_config(
    options: RankerOptions, architecture: str, dropout: float
) -> RankerConfig:
    """The configuration of one network."""
    own = {
        name: getattr(options, name) or None
        for name, owner in OWN_OPTIONS.items()
        if owner == architecture
    }
    if own.get("crosses"):
        own["crosses"] = tuple(pair.split("*") for pair in own["crosses"])
    return RankerConfig(
        architecture,
        embedding_dim=options.embedding_dim,
        hidden_units=options.hidden_units,
        dropout=dropout,
        experts=options.experts,
        l2=options.l2,
        activation=options.activation,
        tower_units=options.tower_units,
        **own,
    )


@contextlib.contextmanager
def network_flags(stage: str) -> Iterator[None]:
    """Names options of a network as flags in the messages of mistakes.

    Raises:
        UserError: with the stage and the flags.
    """
    owner = "student" if stage == "student" else "teacher"
    try:
        yield
    except UserError as error:
        names = [field.name for field in dataclasses.fields(RankerOptions)]
        text = as_flags(str(error), names, f"{owner}_")
        text = as_flags(text, ["history_length"])
        raise UserError(f"{stage}: {text}") from None
