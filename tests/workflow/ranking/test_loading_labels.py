"""Two heads on a file of one's own in which some rows lack a label."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.ranking.experiment import run_experiment
from kd_tfrs.workflow.ranking.learner import RankingLearner
from kd_tfrs.workflow.ranking.loading import load_data
from kd_tfrs.workflow.ranking.options import RankingDataConfig
from kd_tfrs.workflow.ranking.prepare import prepare
from kd_tfrs.workflow.run import Run

FLAGS = {
    "tasks": ["click", "rating"],
    "task_weights": [1.0, 0.2],
    "history_length": 0,
    "event_columns": ["device"],
    "training_only_columns": ["position"],
    "student_features": "all",
    "student_epochs": 4,
    "student_batch_size": 64,
    "student_learning_rate": 0.05,
    # Sampling is of one label, and refused to two.
    "distilled_negative_rate": 1.0,
    "eval_baselines": False,
    "eval_bootstrap": 5,
}


def impressions(count=900, seed=7):
    """Clicks lean on the device, stars on the item and on clicked rows."""
    rng = np.random.default_rng(seed)
    items, web = rng.integers(0, 20, count), rng.integers(0, 2, count)
    click = rng.random(count) < 0.25 + 0.5 * web
    stars = np.clip(np.round(1 + items / 5 + rng.normal(size=count)), 1, 5)
    return pd.DataFrame(
        {
            "user_id": rng.integers(0, 30, count),
            "item_id": items,
            "timestamp": 1_000_000 + 60 * np.arange(count),
            "click": click.astype(int),
            "rating": np.where(click, stars, np.nan),
            "device": np.where(web, "web", "tv"),
            "position": rng.integers(1, 4, count),
        }
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("raw") / "impressions.csv"
    impressions().to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def prepared(tiny, path):
    config = tiny(dataset=str(path), **FLAGS)
    return prepare(config.data, config.evaluation, config.seed)


def test_columns_of_the_flags_reach_the_networks_and_labels_do_not(
    tiny, prepared
):
    config = tiny(**FLAGS)
    student = prepared.inputs(config.student_ranker, served=True).names
    teacher = prepared.inputs(config.teacher_rankers, served=False).names
    assert {*teacher} - {*student} == {"position"}
    assert "device" in student
    assert not {"click", "rating"} & {*teacher}
    assert [(t.name, t.kind) for t in prepared.tasks] == [
        ("click", "binary"),
        ("rating", "rating"),
    ]
    train = prepared.split.train.labels
    np.testing.assert_array_equal(
        np.isnan(train["rating"]), ~train["click"].astype(bool)
    )
    assert np.isnan(prepared.split.test.labels["rating"]).any()
    # The head starts at the mean of the stars that there are.
    assert prepared.tasks[1].initial_logit == pytest.approx(
        np.nanmean(train["rating"]), rel=1e-5
    )


def test_a_student_of_two_heads_is_trained_and_measured(tiny, path, tmp_path):
    config = tiny(dataset=str(path), **FLAGS)
    found = run_experiment(
        config, tmp_path / "run", stages=("student",), say=lambda _: None
    )
    metrics = found["stages"][0]["metrics"]
    # Odds of 3 to 1 on the web and 1 to 3 on tv: seen, they give 0.75.
    assert metrics["auc"] > 0.6
    assert 0.0 < metrics["rating/rmse"] < 5.0
    assert np.isfinite(metrics["rating/mae"])
    assert metrics["log_loss"] < np.log(2)
    low, high = found["stages"][0]["intervals"]["rating/rmse"]
    assert low <= metrics["rating/rmse"] <= high
    kept = json.loads((tmp_path / "run" / "flags.json").read_text())
    assert kept["event_columns"] == ["device"]


def test_rows_without_a_label_move_nothing(tiny, prepared, tmp_path):
    """The gradient is that of a batch of the labelled rows alone."""
    run = Run(tmp_path / "run", tiny(**FLAGS))
    learner = RankingLearner(run, prepared)
    model = learner.build("student", steps_per_epoch=1)
    run.close()
    names = learner.inputs("student").names
    batch = next(iter(prepared.rows("train", names).in_order(64)))
    missing = np.isnan(batch["labels"]["rating"].numpy())
    assert 0 < missing.sum() < len(missing)
    rated = tf.nest.map_structure(lambda x: x[~missing], batch)
    unrated = tf.nest.map_structure(lambda x: x[missing], batch)
    whole, alone, nothing = (
        gradients(model, rows) for rows in (batch, rated, unrated)
    )
    for one, other, none in zip(whole, alone, nothing, strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, other, atol=1e-6)
        np.testing.assert_array_equal(none, 0.0)
    assert any(np.abs(one).max() > 0 for one in whole)


def gradients(model, batch):
    """Of the loss of ratings by every weight."""
    weights = model.network.trainable_weights
    with tf.GradientTape() as tape:
        loss = model.task_losses(batch, model(batch))["rating"]
    assert np.isfinite(loss.numpy())
    found = tape.gradient(
        loss, weights, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return [tf.convert_to_tensor(value).numpy() for value in found]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"event_columns": ("moon",)}, "`--event_columns`.*'moon'.*'device'"),
        (
            {"training_only_columns": ("moon",)},
            "`--training_only_columns`.*'moon'",
        ),
        ({"tasks": ("click", "buy")}, "`--tasks`.*'buy'.*'position'"),
        (
            {"dataset": "movielens-100k", "event_columns": ("device",)},
            "`--event_columns` should be left out.*movielens-100k",
        ),
        (
            {"dataset": "criteo", "training_only_columns": ("device",)},
            "`--training_only_columns` should be left out.*logs.*criteo",
        ),
        (
            {"dataset": "synthetic", "event_columns": ("device", "x")},
            "`--event_columns` = device,x",
        ),
    ],
)
def test_mistakes_name_the_flag(path, changes, words):
    data = RankingDataConfig(str(path), tasks=("click",))
    with pytest.raises(UserError, match=words) as caught:
        load_data(dataclasses.replace(data, **changes), 0)
    assert "\n" not in str(caught.value)
