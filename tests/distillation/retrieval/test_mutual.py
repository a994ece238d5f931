"""Students that teach each other: values, gradients and comparisons."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation import ScoreRegression, SoftTargets, TeacherHardLabel
from kd_tfrs.distillation.retrieval import InBatch
from kd_tfrs.distillation.retrieval.mutual import MutualDistiller
from kd_tfrs.errors import UserError
from kd_tfrs.testing.retrieval import tiny_world


@pytest.fixture(scope="module")
def world():
    return tiny_world(ids_only=True)


def students_of(world, count=2):
    return [world.model(3 + k, temperature=0.3 + 0.2 * k) for k in range(count)]


def log_softmax(scores, mask):
    scores = np.where(mask, scores, -np.inf)
    scores = scores - scores.max()
    return scores - np.log(np.exp(scores).sum())


def divergences(students, batch):
    """[k, l]: the weighted mean of KL(p_l || p_k), by loops."""
    mask = InBatch().select(batch).mask.numpy()
    mask = np.broadcast_to(mask, (len(batch["event_weight"]), mask.shape[-1]))
    weight = batch["event_weight"].numpy()
    scores = []
    for student in students:
        outputs = student(batch)
        query = outputs["query"]["embedding"].numpy()[: len(weight)]
        candidate = outputs["candidate"]["embedding"].numpy()
        scores.append(query @ candidate.T / student.temperature)
    found = np.zeros((len(students), len(students)))
    for k, mine in enumerate(scores):
        for j, other in enumerate(scores):
            for q in range(len(weight)):
                seen = mask[q]
                p = log_softmax(other[q].astype(np.float64), seen)[seen]
                s = log_softmax(mine[q].astype(np.float64), seen)[seen]
                found[k, j] += weight[q] * np.sum(np.exp(p) * (p - s))
    return found / weight.sum()


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_the_loss_is_the_papers(world, count, weight):
    students = students_of(world, count)
    batch = world.batch(num_uniform_negatives=4)
    mutual = MutualDistiller(students, weight=weight)
    mutual.compile("sgd")
    logs = mutual.test_step(batch)
    pairs = divergences(students, batch)
    total = 0.0
    for k, student in enumerate(students):
        own = float(student.task_loss(batch, student(batch)))
        inputs = pairs[k].sum() / (count - 1)
        assert float(logs[f"student_{k}_loss"]) == pytest.approx(own, rel=1e-4)
        assert float(logs[f"student_{k}_mutual"]) == pytest.approx(
            inputs, rel=1e-3
        )
        total += own + weight * inputs
    assert float(logs["loss"]) == pytest.approx(total, rel=1e-4)


def test_no_gradient_crosses(world):
    students = students_of(world)
    batch = world.batch()
    before = [s.get_weights() for s in students]
    outputs = [s(batch) for s in students]
    selection = InBatch().select(batch)

    def scores(student, outputs):
        query, candidate = (
            outputs[x]["embedding"] for x in ("query", "candidate")
        )
        weight = tf.shape(selection.weight)[0]
        return (
            tf.matmul(query[:weight], candidate, transpose_b=True)
            / student.temperature
        )

    other = scores(students[1], outputs[1]).numpy()
    with tf.GradientTape() as tape:
        outputs = students[0](batch)
        loss = students[0].task_loss(batch, outputs) + SoftTargets()(
            other,
            scores(students[0], outputs),
            selection.weight,
            mask=selection.mask,
        )
    variables = students[0].trainable_variables
    gradients = tape.gradient(loss, variables)
    mutual = MutualDistiller(students)
    mutual.compile(tf.keras.optimizers.legacy.SGD(0.5))
    mutual.train_step(batch)
    for old, new, gradient in zip(
        before[0], students[0].get_weights(), gradients, strict=True
    ):
        np.testing.assert_allclose(
            new,
            old - 0.5 * tf.convert_to_tensor(gradient).numpy(),
            atol=1e-5,
        )


def test_equal_students_have_a_loss_of_zero(world):
    students = [world.model(4), world.model(4)]
    for tower in ("query_tower", "candidate_tower"):
        getattr(students[1], tower).set_weights(
            getattr(students[0], tower).get_weights()
        )
    mutual = MutualDistiller(students)
    mutual.compile("sgd")
    logs = mutual.test_step(world.batch())
    assert float(logs["student_0_mutual"]) == pytest.approx(0, abs=1e-6)
    assert float(logs["student_1_mutual"]) == pytest.approx(0, abs=1e-6)


def test_they_come_closer_by_training(world):
    students = students_of(world)
    decay = tf.keras.optimizers.schedules.PolynomialDecay(2.0, 50, 1.0)
    mutual = MutualDistiller(students, weight=decay)
    mutual.compile(tf.keras.optimizers.legacy.Adam(0.03))
    batches = world.batches()
    history = mutual.fit(
        batches.dataset(12),
        epochs=12,
        steps_per_epoch=batches.steps_per_epoch,
        verbose=0,
    ).history
    for name in ("loss", "student_0_loss", "student_1_loss"):
        assert history[name][-1] < history[name][0]
    assert history["student_0_mutual"][-1] < history["student_0_mutual"][0]
    assert mutual.evaluate(batches.dataset(1), verbose=0, return_dict=True)[
        "loss"
    ] == pytest.approx(history["loss"][-1], rel=0.5)


def test_any_score_loss_may_compare(world):
    students = students_of(world)
    for loss in (ScoreRegression(), TeacherHardLabel(), SoftTargets(2.0)):
        mutual = MutualDistiller(students, loss)
        mutual.compile("sgd")
        logs = mutual.train_step(world.batch())
        assert np.isfinite(float(logs["loss"]))


def test_wrong_arguments_raise_errors(world):
    student = world.model(3)
    for make in (
        lambda: MutualDistiller([student]),
        lambda: MutualDistiller([student, student]),
        lambda: MutualDistiller([student, tf.keras.Sequential()]),
    ):
        with pytest.raises(UserError, match="two or more different models"):
            make()
    pair = students_of(world)
    with pytest.raises(UserError, match="`loss` should be a Distillation"):
        MutualDistiller(pair, "mse")
    with pytest.raises(UserError, match="`weight` should be a number"):
        MutualDistiller(pair, weight=-1.0)
