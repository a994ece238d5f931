"""From the scores of a PyTorch model in a Parquet file to a student.

`fixtures/pytorch_scores.parquet` has the 100 best items of each user, by raw
ids, of a matrix factorisation that `fixtures/pytorch_scores.py` trained with
PyTorch 2.14 on the embedded synthetic data. No test needs PyTorch.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tutorials

import kd_tfrs as kd
from kd_tfrs.data.catalogue import Catalogue

FILE = Path(__file__).parent / "fixtures" / "pytorch_scores.parquet"


@pytest.fixture(scope="module")
def events():
    return kd.load("synthetic", num_events=1000).events


@pytest.fixture
def student(events):
    users, items = (
        [str(x) for x in sorted(events[name].unique())]
        for name in ("user_id", "item_id")
    )
    return tutorials.BasicRetrieval(users, items, 16)


def batches(events):
    rows = {
        "user_id": events["user_id"].astype(str).to_numpy(object),
        "movie_title": events["item_id"].astype(str).to_numpy(object),
    }
    return tf.data.Dataset.from_tensor_slices(rows).batch(250)


def agreement(student, table):
    """Mean share of the teacher's best 10 items among the student's best."""
    items = table["item"].unique()
    scores = tf.matmul(
        student.user_model(tf.constant(table["query"].unique().astype(str))),
        student.movie_model(tf.constant(items.astype(str))),
        transpose_b=True,
    )
    best = items[np.argsort(-scores.numpy(), axis=1)[:, :10]]
    shares = []
    for (_, rows), mine in zip(table.groupby("query"), best, strict=True):
        shares.append(np.isin(rows.nlargest(10, "score")["item"], mine).mean())
    return np.mean(shares)


def test_the_student_comes_to_rank_as_the_pytorch_model(
    events, student, caplog
):
    table = pd.read_parquet(FILE)
    teacher = kd.ScoreTableTeacher(
        FILE, "user_id", "movie_title", columns=("query", "item")
    )
    items = table["item"].unique().astype(str)
    lists = kd.CatalogueScores(items, student.movie_model, k=50)
    distiller = kd.Distiller(
        teacher,
        student,
        kd.DistillationTerm(kd.SoftTargets(0.5), lists),
        1.0,
        student_loss_weight=0.0,
    )
    distiller.compile(tf.keras.optimizers.legacy.Adagrad(0.5))
    # Chance is 10 of several hundred items.
    assert agreement(student, table) < 0.1
    with caplog.at_level(logging.INFO, logger="kd_tfrs"):
        history = distiller.fit(batches(events), epochs=30, verbose=0).history
    assert "100.0 % of user_id of the first batch" in caplog.text
    assert history["soft_targets"][-1] < 0.5 * history["soft_targets"][0]
    assert agreement(student, table) > 0.5


def test_the_file_maps_onto_the_rows_of_a_catalogue(events, caplog):
    # The same scores as lists of a `RetrievalModel`'s teacher.
    table = pd.read_parquet(FILE)
    data = kd.load("synthetic", num_events=1000)
    catalogue = Catalogue.build(data, data.events)
    with caplog.at_level(logging.INFO, logger="kd_tfrs"):
        teacher = kd.ListTeacher.of_table(
            catalogue, FILE, columns=("query", "item", "score")
        )
    assert "100.0 % of the 109 query ids" in caplog.text
    rows, scores = teacher.top_k(catalogue.user_rows([7]), 100)
    own = table[table["query"] == 7].sort_values("score", ascending=False)
    np.testing.assert_allclose(scores[0], own["score"])
    assert set(catalogue.item_ids[rows[0].numpy()]) == set(own["item"])
    assert not np.isfinite(teacher.top_k(tf.constant([0]), 1)[1]).any()
