"""A teacher's embeddings of a user's past, by loops over the events."""

import dataclasses

import numpy as np
import pytest

from kd_tfrs.data import Owner
from kd_tfrs.data.ranking.examples import build_examples
from kd_tfrs.data.splits import by_time
from kd_tfrs.distillation.ranking import with_teacher_history
from kd_tfrs.errors import UserError
from kd_tfrs.models.features import FeatureSet
from kd_tfrs.testing.retrieval import tiny_interactions

PARTS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def split():
    data = tiny_interactions()
    data.events["liked"] = np.arange(len(data.events)) % 2
    return build_examples(data, by_time(data), ["liked"], 0)


@pytest.fixture(scope="module")
def embeddings(split):
    rng = np.random.default_rng(0)
    # Of unequal variances, so that the directions are not a matter of chance.
    return {
        part: rng.normal(3.0, [5.0, 0.1, 2.0], (len(getattr(split, part)), 3))
        for part in PARTS
    }


def directions(rows):
    """The principal ones, by a singular value decomposition."""
    v = np.linalg.svd(rows - rows.mean(axis=0))[2].T
    return v * np.sign(v[np.abs(v).argmax(axis=0), np.arange(v.shape[1])])


def by_loops(split, embeddings, part, dim, seen):
    schema = split.interactions.schema
    v = directions(embeddings["train"])[:, :dim]
    past = [
        (user, time, (row - embeddings["train"].mean(axis=0)) @ v)
        for name in seen
        for user, time, row in zip(
            getattr(split.parts, name)[schema.user_id],
            getattr(split.parts, name)[schema.time],
            embeddings[name],
            strict=True,
        )
    ]
    frame, means = getattr(split.parts, part), []
    for user, now in zip(
        frame[schema.user_id], frame[schema.time], strict=True
    ):
        own = [x for u, t, x in past if u == user and t < now]
        means.append(np.mean(own, axis=0) if own else np.full(dim, np.nan))
    return np.array(means)


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("dim", [1, 2])
def test_means_of_what_came_earlier(split, embeddings, online, dim):
    new = with_teacher_history(split, embeddings, dim, online=online)
    names = [f"teacher_history_{i}" for i in range(dim)]
    for count, part in enumerate(PARTS, 1):
        seen = PARTS[:count] if online else PARTS[:1]
        table = getattr(new, part).table
        wanted = by_loops(split, embeddings, part, dim, seen)
        np.testing.assert_allclose(table[names], wanted, atol=1e-9)
    assert np.isnan(new.train.table[names[0]]).any()
    assert not np.isnan(new.test.table[names[0]]).all()


def test_the_own_event_of_a_row_is_not_in_its_features(split, embeddings):
    # The embedding of the first held-out event is of a later time than all
    # of training, and of an earlier one than the others.
    times = split.parts.test[split.interactions.schema.time].to_numpy()
    first = times == times.min()
    changed = {
        **embeddings,
        "test": embeddings["test"] + 100.0 * first[:, None],
    }
    tables = [
        with_teacher_history(split, given, 2, online=True).test.table
        for given in (embeddings, changed)
    ]
    for name in ("teacher_history_0", "teacher_history_1"):
        before, after = (table[name].to_numpy() for table in tables)
        np.testing.assert_allclose(after[first], before[first], atol=1e-9)


def test_held_out_embeddings_have_no_effect_offline(split, embeddings):
    alone = with_teacher_history(split, {"train": embeddings["train"]}, 2)
    both = with_teacher_history(split, embeddings, 2)
    for part in PARTS:
        assert getattr(alone, part).table.equals(getattr(both, part).table)


def test_the_first_numbers_are_those_of_a_narrower_embedding(split, embeddings):
    wide = with_teacher_history(split, embeddings, 3).test.table
    narrow = with_teacher_history(split, embeddings, 1).test.table
    np.testing.assert_allclose(
        wide["teacher_history_0"], narrow["teacher_history_0"]
    )


def test_a_student_sees_them_as_features_of_the_user(split, embeddings):
    new = with_teacher_history(split, embeddings, 2)
    assert len(split.train.columns) == len(new.train.columns) - 2
    assert new.train.served_columns[-1].owner == Owner.USER
    features = FeatureSet.adapt(new.train.columns, new.train.table)
    encoded = features.encode(new.test.table)["teacher_history_1"]
    assert encoded.dtype == np.float32
    assert np.isfinite(encoded).all()
    assert encoded.std() > 0
    np.testing.assert_array_equal(
        new.test.labels["liked"], split.test.labels["liked"]
    )


def wrong(embeddings):
    nan = embeddings["train"].copy()
    nan[0, 0] = np.nan
    return [
        ({}, "train should be"),
        ({"train": embeddings["train"][1:]}, "train should be"),
        ({"train": embeddings["train"][:, 0]}, "train should be"),
        ({"train": nan}, "finite"),
    ]


@pytest.mark.parametrize("case", range(4))
def test_embeddings_that_do_not_fit_are_refused(split, embeddings, case):
    given, message = wrong(embeddings)[case]
    with pytest.raises(UserError, match=message):
        with_teacher_history(split, given, 2)


def test_an_online_history_needs_all_parts(split, embeddings):
    with pytest.raises(UserError, match="validation should be"):
        with_teacher_history(
            split, {"train": embeddings["train"]}, 2, online=True
        )


@pytest.mark.parametrize("dim", [0, 4, True])
def test_widths_out_of_range_are_refused(split, embeddings, dim):
    with pytest.raises(UserError, match="`dim`"):
        with_teacher_history(split, embeddings, dim)


def test_splits_that_do_not_fit_are_refused(split, embeddings):
    twice = with_teacher_history(split, embeddings, 1)
    with pytest.raises(UserError, match="teacher_history_0"):
        with_teacher_history(twice, embeddings, 1)
    logs = dataclasses.replace(split, parts=None, interactions=None)
    with pytest.raises(UserError, match="with a time"):
        with_teacher_history(logs, embeddings, 1)
