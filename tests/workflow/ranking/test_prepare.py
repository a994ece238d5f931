"""From files to tasks, features and protocols."""

import dataclasses

import numpy as np
import pytest

from kd_tfrs.data.ranking import load_examples
from kd_tfrs.errors import UserError
from kd_tfrs.workflow.ranking.measure import measure_logits, metric_name
from kd_tfrs.workflow.ranking.options import (
    RankerOptions,
    RankerTrainOptions,
    RankingEvaluationOptions,
)
from kd_tfrs.workflow.ranking.prepare import prepare, prepare_examples
from kd_tfrs.workflow.ranking.protocols import for_test, for_validation, slices

OPTIONS = RankingEvaluationOptions(validation_rows=50)


@pytest.fixture(scope="module")
def prepared(tiny):
    return prepare(
        tiny(tasks=["liked", "rating"], task_weights=[1.0, 0.5]).data,
        OPTIONS,
        0,
    )


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Rows of a log: labels and categories, neither users nor items."""
    rng = np.random.default_rng(0)
    lines = [
        f"{rng.integers(2)} {rng.integers(1, 5)}:1 {rng.integers(5, 9)}:1"
        for _ in range(200)
    ]
    path = tmp_path_factory.mktemp("log") / "clicks.libfm"
    path.write_text("\n".join(lines) + "\n")
    return load_examples(path)


def test_a_rating_is_a_rating_and_a_like_is_binary(prepared):
    liked, rating = prepared.tasks
    train = prepared.split.train.labels
    assert (liked.kind, rating.kind) == ("binary", "rating")
    assert (liked.weight, rating.weight) == (1.0, 0.5)
    # Heads start at what training examples say on the mean.
    share = train["liked"].mean()
    wanted = np.log(share / (1 - share))
    assert liked.initial_logit == pytest.approx(wanted, rel=1e-5)
    assert rating.initial_logit == pytest.approx(
        train["rating"].mean(), rel=1e-5
    )


def test_metrics_of_the_first_task_stand_without_its_name(prepared):
    assert metric_name(prepared, "liked", "auc") == "auc"
    assert metric_name(prepared, "rating", "rmse") == "rating/rmse"
    test = prepared.split.test.labels
    row = measure_logits(
        "oracle",
        {"liked": 20 * test["liked"] - 10, "rating": test["rating"] + 0.5},
        prepared,
        bootstrap=5,
    )
    assert row["metrics"]["auc"] == 1.0
    assert row["metrics"]["rating/rmse"] == pytest.approx(0.5)
    assert row["intervals"]["rating/mae"] == pytest.approx([0.5, 0.5])


def test_validation_is_of_the_same_rows_in_every_run(prepared, tiny):
    again = prepare(tiny(tasks=["liked", "rating"]).data, OPTIONS, 0)
    rows = prepared.validation_rows
    assert len(rows) == 50 == len(np.unique(rows))
    np.testing.assert_array_equal(rows, again.validation_rows)
    assert prepared.fingerprint() == again.fingerprint()


def test_batches_have_what_was_asked_for(prepared):
    inputs = prepared.inputs(RankerOptions(features="ids"), served=True)
    assert inputs.names == ("user_id", "item_id", "history")
    assert inputs.history_length == 2
    batches = prepared.batches(
        inputs.names,
        RankerTrainOptions(batch_size=64, class_weights="balanced"),
        seed=1,
    )
    batch = next(iter(batches.dataset(1)))
    assert set(batch["features"]) == set(inputs.names)
    liked, weight = (
        np.asarray(x) for x in (batch["labels"]["liked"], batch["weight"])
    )
    assert len(np.unique(weight[liked == 1])) == 1
    assert batches.logit_offset != 0
    none = prepared.inputs(RankerOptions(use_history=False), served=True)
    assert "history" not in none.names
    assert (none.history_length, none.item_id) == (None, None)


def test_balanced_classes_weigh_the_same_in_an_epoch(prepared):
    """With weights of events, and with a third of the negatives."""
    train = prepared.split.train
    weights = np.where(train.labels["liked"] > 0, 5.0, 0.5)
    weights = np.float32(weights * np.arange(1, 1 + len(train)) / len(train))
    split = dataclasses.replace(
        prepared.split, train=dataclasses.replace(train, weights=weights)
    )
    prepared = dataclasses.replace(prepared, split=split)
    for rate in (1.0, 1 / 3):
        options = RankerTrainOptions(
            batch_size=1, negative_rate=rate, class_weights="balanced"
        )
        batches = prepared.batches(("item_id",), options, seed=1)
        totals = np.zeros(2)
        for batch in batches.dataset(1):
            liked = int(batch["labels"]["liked"][0])
            totals[liked] += float(batch["weight"][0])
        # Which negatives are drawn is left to chance.
        near = 1e-3 if rate == 1 else 0.1
        assert totals[0] == pytest.approx(totals[1], rel=near)


def test_sessions_stand_together(prepared):
    users = prepared.split.train.groups
    batches = prepared.batches(
        ("item_id",), RankerTrainOptions(batch_size=128), 0, sessions=users
    )
    batch = next(iter(batches.dataset(1)))
    found = users[batch["row"].numpy()]
    changes = (found[1:] != found[:-1]).sum()
    assert changes + 1 == len(np.unique(found))


def test_slices_are_by_training_examples(prepared):
    train, test = prepared.split.train, prepared.split.test
    some = dataclasses.replace(
        test, items=np.where(np.arange(len(test)) < 3, 999, test.items)
    )
    found = slices(train, some)
    assert found["new_items"].sum() == 3
    assert not (found["head"] & found["tail"]).any()
    assert (found["head"] | found["tail"] | found["new_items"]).all()
    assert "new_users" not in found, "everybody is known"
    items, counts = np.unique(train.items, return_counts=True)
    head = np.unique(some.items[found["head"]])
    tail = np.unique(some.items[found["tail"]])
    by_item = dict(zip(items, counts, strict=True))
    assert min(by_item[i] for i in head) >= max(by_item[i] for i in tail)


def test_a_log_without_users_is_measured_without_them(log):
    data = prepare_examples(log)
    assert data.split.interactions is None
    assert len(data.fingerprint()) == 64
    assert data.fingerprint() == prepare_examples(log).fingerprint()
    logits = {"click": np.zeros(len(log.test))}
    row = measure_logits("prior", logits, data, bootstrap=5)
    assert row["metrics"]["auc"] == 0.5
    assert "gauc" not in row["metrics"]
    assert "intervals" not in row


def test_a_network_needs_something_to_see(log):
    data = prepare_examples(log)
    with pytest.raises(UserError, match=r"features.*ids.*Give all"):
        data.inputs(RankerOptions(features="ids"), served=True)


def test_a_part_without_a_label_cannot_be_measured(prepared):
    """Else the first task would train for nothing."""
    split, task = prepared.split, prepared.tasks[1]
    for part, measured in (
        ("validation", lambda s: for_validation(s, task, np.arange(9))),
        ("test", lambda s: for_test(s, task)),
    ):
        examples = getattr(split, part)
        none = np.full(len(examples), np.nan, np.float32)
        labels = {**examples.labels, task.name: none}
        changed = dataclasses.replace(
            split, **{part: dataclasses.replace(examples, labels=labels)}
        )
        with pytest.raises(UserError, match=f"{part} .* labels of rating"):
            measured(changed)


def test_one_class_cannot_be_validated(prepared):
    part = prepared.split.validation
    rows = np.flatnonzero(part.labels["liked"] == 1)
    with pytest.raises(UserError, match="both classes of liked"):
        for_validation(prepared.split, prepared.task, rows)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tasks": ["bought"]}, "bought"),
        ({"dataset": "no.csv"}, r"no\.csv"),
        ({"split": "u1"}, "u1"),
        ({"time_column": "when"}, "when"),
        ({"dataset": "synthetic", "label_column": "x"}, "synthetic"),
    ],
)
def test_mistakes_in_the_data_are_told(tiny, changes, words):
    with pytest.raises(UserError, match=words):
        prepare(tiny(**changes).data, OPTIONS, 0)
