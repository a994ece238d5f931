"""Gradient-boosted trees on the features of the teachers."""

import builtins

import numpy as np
import pytest

from kd_tfrs.evaluation.ranking.metrics import auc
from kd_tfrs.workflow.ranking import boosting, matrix
from kd_tfrs.workflow.ranking.boosting import BoostedTrees
from kd_tfrs.workflow.ranking.matrix import as_matrix
from kd_tfrs.workflow.ranking.options import (
    RankerOptions,
    RankingEvaluationOptions,
)
from kd_tfrs.workflow.ranking.prepare import prepare

pytest.importorskip("lightgbm")


@pytest.fixture(scope="module")
def prepared(tiny):
    data = tiny(tasks=["liked", "rating"]).data
    return prepare(data, RankingEvaluationOptions(), 0)


@pytest.fixture(scope="module")
def inputs(prepared):
    return prepared.inputs(RankerOptions(), served=False)


@pytest.fixture
def few_rounds(monkeypatch):
    monkeypatch.setattr(boosting, "_ROUNDS", 15)


def test_the_matrix_has_what_networks_see(prepared, inputs):
    table = as_matrix(prepared, inputs, "validation")
    columns = dict(zip(table.names, table.cells.T, strict=True))
    tables, raw = prepared.tables["validation"], prepared.split.validation.table
    np.testing.assert_array_equal(columns["item_id"], tables["item_id"])
    # Trees take numbers as they are, and what is missing as missing.
    wanted = raw["item_mean_label"].to_numpy(np.float32)
    np.testing.assert_array_equal(columns["item_mean_label"], wanted)
    history = tables["history"]
    np.testing.assert_array_equal(columns["history_newest"], history[:, 0])
    np.testing.assert_array_equal(
        columns["history_length"], (history > 0).sum(axis=1)
    )
    assert set(table.ids) == {"user_id", "item_id", "history_newest"}
    assert "item_mean_label" not in table.categories
    without = table.without_ids()
    assert not {*table.ids} & {*without.names}
    assert without.cells.shape == (len(raw), len(without.names))


def test_a_list_is_a_column_for_each_of_its_values(prepared):
    class Genres:
        name, length, encoding, vocabulary_size = "genres", 2, None, 5

    codes = np.array([[2, 3], [4, 0], [0, 0]])
    made = matrix._columns(Genres, codes, None, slice(None))
    assert list(made) == ["genres_1", "genres_2", "genres_3", "genres_4"]
    np.testing.assert_array_equal(made["genres_3"], [True, False, False])
    np.testing.assert_array_equal(made["genres_4"], [False, True, False])


def test_trees_learn_and_do_so_again(prepared, inputs, few_rounds, tmp_path):
    trees = BoostedTrees(prepared, inputs, "auc", seed=1)
    logits = trees.logits("test")
    labels = prepared.split.test.labels
    assert auc(labels["liked"], logits["liked"]) > 0.65
    error = np.mean((labels["rating"] - logits["rating"]) ** 2)
    assert error < labels["rating"].var()
    again = BoostedTrees(prepared, inputs, "auc", seed=1).logits("test")
    np.testing.assert_array_equal(logits["liked"], again["liked"])
    count = trees.save(tmp_path / "trees")
    files = sorted(p.name for p in (tmp_path / "trees").iterdir())
    assert files == ["liked.txt", "rating.txt"]
    leaves = [
        tree["num_leaves"]
        for booster in trees.boosters.values()
        for tree in booster.dump_model()["tree_info"]
    ]
    assert count == sum(2 * n - 1 for n in leaves)


def test_the_remedy_is_told_where_the_package_is_missing(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name == "lightgbm":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match=r"kd_tfrs\[baselines\].*noeval"):
        boosting.require_lightgbm()
