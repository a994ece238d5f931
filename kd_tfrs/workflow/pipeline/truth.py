"""Requests: users, contexts, seen items and relevant items."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from kd_tfrs.data.schema import Owner
from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.retrieval.held_out import HeldOut
from kd_tfrs.workflow.pipeline.sides import RankingSide, RetrievalSide
from kd_tfrs.workflow.ranking.prepare import RankingPrepared

Context = dict[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Requests:
    """One request a user with something to find.

    Args:
        data: the relevant events by place; each of its users has a request,
            its exclusions are the events before.
        contexts: `[users]` values of the event's columns by name.
        known: `[users]` whether the user has training events.
    """

    data: HeldOut
    contexts: tuple[Context, ...]
    known: np.ndarray

    def __len__(self) -> int:
        return len(self.data.users)

    def contexts_for(self, names: tuple[str, ...]) -> list[Context]:
        """The contexts of a ranker that reads some columns.

        Args:
            names: of the columns.

        Returns:
            `[users]` contexts.
        """
        return [
            {name: c[name] for name in names if name in c}
            for c in self.contexts
        ]


def make_requests(
    retrieval: RetrievalSide,
    ranking: RankingSide,
    context: str,
    part: str = "test",
) -> Requests:
    """Reads requests off the test events, or the validation events.

    An item is relevant to a user by the first task of the ranking run
    in a held-out event: the label of a binary task is 1, or a rating is at
    least `--liked_from`. What the user has in training, and before test
    events in validation, is neither relevant nor recommended. Users without a
    relevant item have no request.

    Raises:
        UserError: nothing is relevant.
    """
    prepared = ranking.chain.prepared
    schema = prepared.split.interactions.schema
    keys = [schema.user_id, schema.item_id]
    parts = prepared.split.parts
    liked = relevant_rows(prepared, ranking.run.config.data.liked_from, part)
    found = getattr(parts, part).loc[liked, keys]
    before = [parts.validation] if part == "test" else []
    seen = pd.concat([events[keys] for events in (parts.train, *before)])
    found = found[~_pairs(found).isin(_pairs(seen))]
    if found.empty:
        instead = "Take other data"
        if part == "validation":
            instead += ", or give --retrieval_weight"
        raise UserError(
            f"The {part} events should have something relevant: a rating of at "
            f"least --liked_from = {ranking.run.config.data.liked_from:g}, or "
            f"a label of 1. Received: none. {instead}."
        )
    items = retrieval.chain.prepared.catalogue.item_ids
    data = HeldOut(parts.train, found, items, before, *keys)
    contexts: tuple[Context, ...] = ({},) * len(data.users)
    if context == "first_event":
        contexts = _first_contexts(prepared, data.users, part)
    return Requests(data, contexts, data.user_counts > 0)


def relevant_rows(
    prepared: RankingPrepared, liked_from: float, part: str = "test"
) -> np.ndarray:
    """Which held-out events are of items that the user wanted.

    Args:
        prepared: the ranking data.
        liked_from: the lowest rating that is liked.
        part: "test" or "validation".

    Returns:
        `[events]` booleans; an event without a label is not relevant.
    """
    labels = getattr(prepared.split, part).labels[prepared.task.name]
    least = 1.0 if prepared.task.kind == "binary" else liked_from
    return labels >= least


def _pairs(events: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(events)


def _first_contexts(
    prepared: RankingPrepared, users: np.ndarray, part: str
) -> tuple[Context, ...]:
    """The event's columns of every user's first held-out event."""
    held_out = getattr(prepared.split, part)
    events = getattr(prepared.split.parts, part)
    schema = prepared.split.interactions.schema
    names = [c.name for c in held_out.served_columns if c.owner is Owner.EVENT]
    order = np.arange(len(held_out))
    if schema.time is not None:
        order = np.argsort(events[schema.time].to_numpy(), kind="stable")
    users_of = pd.Index(held_out.groups[order])
    rows = order[~users_of.duplicated()]
    place = pd.Index(held_out.groups[rows]).get_indexer(users)
    values = held_out.table.iloc[rows[place]]
    columns = {name: values[name].tolist() for name in names}
    return tuple(
        {n: columns[n][i] for n in names if not pd.isna(columns[n][i])}
        for i in range(len(users))
    )
