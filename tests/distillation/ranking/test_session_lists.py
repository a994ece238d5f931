"""A session's rows as one list, and the batches that keep them together."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.data.ranking.sessions import (
    SESSION,
    SessionBatches,
    session_numbers,
)
from kd_tfrs.distillation import DistillationTerm, RelaxedRanking, SoftTargets
from kd_tfrs.distillation.ranking import RankingDistiller, SessionLists
from kd_tfrs.distillation.ranking.sessions import session_rows
from kd_tfrs.errors import UserError


def by_hand(sessions, counts, scores, length):
    """Lists in the order in which sessions first count."""
    lists = {}
    for row, session in enumerate(sessions):
        if counts[row]:
            lists.setdefault(session, []).append(row)
    found = np.full((len(lists), length), -1)
    for i, rows in enumerate(lists.values()):
        best = sorted(rows[:length], key=lambda r: -scores[r])
        found[i, : len(best)] = best
    return found


@pytest.mark.parametrize("in_graph", [False, True])
def test_rows_by_session_in_the_teachers_order(in_graph):
    rng = np.random.default_rng(0)
    run = tf.function(session_rows) if in_graph else session_rows
    for size in (40, 1, 0):
        sessions = rng.integers(0, 9, size).astype(np.int32)
        counts = rng.random(size) < 0.8
        # With ties, which keep the batch's order.
        scores = rng.integers(0, 4, size).astype(np.float32)
        found = run(
            tf.constant(sessions),
            tf.constant(counts),
            tf.constant(scores),
            max_length=4,
        )
        np.testing.assert_array_equal(
            found, by_hand(sessions, counts, scores, 4)
        )


@pytest.mark.parametrize("labelled", [True, False])
def test_a_list_has_its_labels_and_mean_weight(labelled):
    batch = {
        "labels": {"liked": tf.constant([1.0, 0.0, 1.0])} if labelled else {},
        "weight": tf.constant([1.0, 3.0, 5.0]),
        SESSION: tf.constant([4, 4, 9]),
    }
    scores = {"logits_liked": tf.constant([0.1, 0.2, 0.3])}
    found = SessionLists("liked", 2).select(batch, scores, scores)
    # Two rows are a list, and a row alone is none.
    np.testing.assert_array_equal(found.mask, [[True, True], [True, False]])
    np.testing.assert_array_equal(found.weight, [2.0, 0.0])
    if labelled:
        np.testing.assert_array_equal(found.labels[0], [0.0, 1.0])
        assert found.labels[1, 0] == 1.0
    else:
        assert found.labels is None


def test_the_losses_are_those_of_every_session(world, fixed_teacher):
    teacher_values = np.random.default_rng(0).normal(size=24).astype(np.float32)
    student = world.student()
    batch = dict(world.batch())
    weight = world.weights.copy()
    weight[7] = 0.0  # Left out of the second session.
    weight[21:] = 0.0  # One row is left of the last: no list.
    batch["weight"] = tf.constant(weight)
    terms = [
        DistillationTerm(SoftTargets(2.0), SessionLists("liked", 5)),
        DistillationTerm(RelaxedRanking(), SessionLists("liked", 5)),
    ]
    distiller = RankingDistiller(
        fixed_teacher(logits_liked=teacher_values), student, terms, [1.0, 1.0]
    )
    distiller.compile(run_eagerly=True)
    logs = distiller.test_step(batch)
    student_values = student(batch)["logits_liked"].numpy().astype(np.float64)
    soft, order, weights = [], [], []
    for session in range(4):
        rows = np.flatnonzero((world.sessions == session) & (weight > 0))
        rows = rows[np.argsort(-teacher_values[rows])]
        t, s = teacher_values[rows], student_values[rows]
        log_p, log_q = (x / 2 - np.log(np.exp(x / 2).sum()) for x in (t, s))
        soft.append(4 * (np.exp(log_p) * (log_p - log_q)).sum())
        order.append(
            sum(np.log(np.exp(s[k:]).sum()) - s[k] for k in range(len(s)))
        )
        weights.append(weight[rows].mean())
    for name, values in (("soft_targets", soft), ("relaxed_ranking", order)):
        np.testing.assert_allclose(
            logs[name], np.average(values, weights=weights), rtol=1e-4
        )


def test_a_batch_without_lists_costs_nothing(world, fixed_teacher):
    student = world.student()
    batch = dict(world.batch())
    batch["session"] = tf.range(24)
    term = DistillationTerm(RelaxedRanking(), SessionLists("liked"))
    distiller = RankingDistiller(
        fixed_teacher(logits_liked=np.ones(24)), student, term, 1.0, 0.0
    )
    distiller.compile(tf.keras.optimizers.legacy.SGD(1.0), run_eagerly=True)
    before = [w.copy() for w in student.get_weights()]
    for weight in (batch["weight"], tf.zeros(24)):
        logs = distiller.train_step({**batch, "weight": weight})
        assert logs["relaxed_ranking"] == 0.0
    for w, same in zip(student.get_weights(), before, strict=True):
        np.testing.assert_array_equal(w, same)
    del batch["session"]
    with pytest.raises(UserError, match="SessionBatches"):
        distiller.train_step(batch)
    with pytest.raises(UserError, match="max_length"):
        SessionLists("liked", 1)


def test_names_distinguish_the_outputs():
    assert SessionLists("liked").name == "session_liked"
    across = SessionLists("liked", teacher_task="clicked", auxiliary=True)
    assert across.name == "session_liked_from_clicked_teacher"
    assert across.student_output == "logits_liked_teacher"
    assert across.teacher_output == "logits_clicked"


def session_batches(users, **options):
    count = len(users)
    return SessionBatches(
        users,
        {"place": np.arange(count, dtype=np.int32)},
        {"liked": (np.arange(count) % 3 == 0).astype(np.float32)},
        batch_size=10,
        seed=2,
        **options,
    )


def test_a_session_stands_together_and_every_row_comes_once():
    rng = np.random.default_rng(0)
    users = rng.permutation(np.repeat([f"u{i}" for i in range(12)], 5))
    batches = session_batches(users)
    epochs = []
    for epoch in range(2):
        read = list(batches.dataset(epoch + 1, epoch).as_numpy_iterator())
        assert len(read) == 6
        rows = np.concatenate([batch["row"] for batch in read])
        sessions = np.concatenate([batch["session"] for batch in read])
        assert sorted(rows) == list(range(60))
        assert (np.unique(users)[sessions] == users[rows]).all()
        assert (np.diff(sessions) != 0).sum() == 11
        epochs.append(rows)
    assert not np.array_equal(*epochs)
    # Sessions come in another order, and so do the rows of each.
    firsts = [list(dict.fromkeys(users[rows])) for rows in epochs]
    assert firsts[0] != firsts[1]
    of_one = [rows[users[rows] == "u3"].tolist() for rows in epochs]
    assert of_one[0] != of_one[1] or of_one[0] != sorted(of_one[0])


def test_negatives_are_sampled_as_in_other_batches():
    users = np.repeat(np.arange(12), 5)
    batches = session_batches(users, negative_rate=0.5)
    assert batches.num_events == 20 + 20
    read = list(batches.dataset(1).as_numpy_iterator())
    sessions = np.concatenate([batch["session"] for batch in read])
    assert (np.diff(sessions) != 0).sum() == len(np.unique(sessions)) - 1
    with pytest.raises(UserError, match="session"):
        session_batches(users, extras={"session": users})


def test_sessions_end_at_long_pauses():
    rng = np.random.default_rng(1)
    users = rng.integers(0, 4, 50)
    times = rng.integers(0, 500, 50)
    found = session_numbers(users, times, gap=20)
    for user in range(4):
        rows = np.flatnonzero(users == user)
        rows = rows[np.argsort(times[rows], kind="stable")]
        apart = np.diff(times[rows]) > 20
        np.testing.assert_array_equal(np.diff(found[rows]) != 0, apart)
    owners = {}
    for session, user in zip(found, users, strict=True):
        assert owners.setdefault(session, user) == user
    for gap in (-1, float("nan")):
        with pytest.raises(UserError, match="gap"):
            session_numbers(users, times, gap=gap)
