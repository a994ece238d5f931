"""Small models behind `RetrievalModule`, and what NumPy says of them."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import kd_tfrs  # noqa: F401  # isort: skip  (first: it chooses Keras 2)
import tensorflow as tf

from kd_tfrs.data.catalogue import Catalogue
from kd_tfrs.data.schema import Column, Encoding, Owner
from kd_tfrs.evaluation.retrieval import EmbeddingScorer
from kd_tfrs.export import export_saved_model
from kd_tfrs.export.retrieval import RetrievalModule
from kd_tfrs.models import FeatureSet
from kd_tfrs.models.retrieval import TowerConfig, build_tower

NUM_USERS, NUM_ITEMS, DIM, TOP_K = 12, 17, 8, 5


@dataclasses.dataclass(frozen=True)
class Served:
    """A module, its version folder, and its embeddings by raw id."""

    module: RetrievalModule
    path: Path
    catalogue: Catalogue
    queries: dict
    candidates: dict
    fallback: np.ndarray
    unknown_user: int | str
    unknown_item: int | str
    no_item: int | str

    @property
    def users(self):
        return list(self.queries)

    @property
    def items(self):
        return list(self.candidates)

    def scores(self, user):
        """Score of every item for a user: dot products, by the book."""
        query = self.queries.get(user, self.fallback)
        return {i: float(query @ c) for i, c in self.candidates.items()}

    def best(self, user, k, exclude=()):
        """Sorts by score, then by id; fills up to `k`."""
        ranked = sorted(
            (-score, item)
            for item, score in self.scores(user).items()
            if item not in set(exclude)
        )[:k]
        missing = k - len(ranked)
        ids = [item for _, item in ranked] + [self.no_item] * missing
        return ids, [-score for score, _ in ranked] + [-np.inf] * missing

    def scorer(self, **changes):
        """The Keras towers as a scorer; `changes` spoil some argument."""
        arguments = {
            "user_ids": self.users,
            "query_embeddings": np.stack(list(self.queries.values())),
            "item_ids": self.items,
            "candidate_embeddings": np.stack(list(self.candidates.values())),
            "fallback": self.fallback,
        }
        return EmbeddingScorer(**arguments | changes)


def raw_id(kind, prefix, number):
    """Short and long strings (TensorFlow stores them apart), and not ASCII."""
    if kind is int:
        return 7 * number - 20
    return f"{prefix}{number:03d}" + ("é-and-much-longer" * (number % 3))


def make_catalogue(kind, num_users, num_items):
    random = np.random.default_rng(5)
    users = pd.DataFrame(
        {
            "user_id": [raw_id(kind, "u", i) for i in range(num_users)],
            "age": random.integers(18, 70, num_users).astype(float),
        }
    )
    items = pd.DataFrame(
        {
            "item_id": [raw_id(kind, "i", i) for i in range(num_items)],
            "genres": random.choice(["drama", "drama|war", "war"], num_items),
            "title": [f"Title {i}" for i in range(num_items)],
        }
    )
    return Catalogue(
        users=users.sort_values("user_id", ignore_index=True),
        items=items.sort_values("item_id", ignore_index=True),
        user_column="user_id",
        item_column="item_id",
        user_events=np.ones(num_users + 1, np.int64),
        item_events=np.ones(num_items, np.int64),
    )


def make_served(kind, base_dir):
    """Towers with an id, another feature and a hidden layer; exported."""
    catalogue = make_catalogue(kind, NUM_USERS, NUM_ITEMS)
    user = FeatureSet.adapt(
        [
            Column("user_id", Owner.USER, Encoding.ID),
            Column("age", Owner.USER, Encoding.NUMBER),
        ],
        catalogue.users,
    )
    item = FeatureSet.adapt(
        [
            Column("item_id", Owner.ITEM, Encoding.ID),
            Column("genres", Owner.ITEM, Encoding.CATEGORIES),
        ],
        catalogue.items,
    )
    config = TowerConfig(embedding_dim=DIM, hidden_units=(16,))
    query_tower = build_tower(user, config, name="query")
    candidate_tower = build_tower(item, config, name="candidate")
    query_tables = user.encode(catalogue.users, unknown_first=True)
    candidates = candidate_tower(item.encode(catalogue.items))["embedding"]
    queries = query_tower(query_tables)["embedding"].numpy()
    fallback = queries.mean(axis=0)
    module = RetrievalModule(
        np.concatenate([[fallback], queries[1:]]),
        candidates.numpy(),
        catalogue,
        top_k=TOP_K,
    )
    version = export_saved_model(module, base_dir, items=catalogue.items)
    ids = catalogue.user_ids.tolist(), catalogue.item_ids.tolist()
    return Served(
        module=module,
        path=version,
        catalogue=catalogue,
        queries=dict(zip(ids[0], queries[1:], strict=True)),
        candidates=dict(zip(ids[1], candidates.numpy(), strict=True)),
        fallback=fallback,
        unknown_user=raw_id(kind, "u", 999),
        unknown_item=raw_id(kind, "i", 999),
        no_item="" if kind is str else np.iinfo(np.int64).min,
    )


@pytest.fixture(scope="session")
def served_by_kind(tmp_path_factory):
    return {
        kind: make_served(kind, tmp_path_factory.mktemp("served") / "model")
        for kind in (int, str)
    }


@pytest.fixture(params=[int, str], ids=["int64", "string"])
def served(request, served_by_kind):
    return served_by_kind[request.param]


@pytest.fixture(scope="session")
def loaded_by_kind(served_by_kind):
    return {
        kind: tf.saved_model.load(str(served.path))
        for kind, served in served_by_kind.items()
    }


@pytest.fixture
def loaded(served, loaded_by_kind):
    """What `served` wrote, loaded back."""
    return loaded_by_kind[int if served.no_item else str]


@pytest.fixture
def catalogue_of():
    return make_catalogue
