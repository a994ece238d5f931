"""One step of a ranker's distillation, against NumPy and by hand."""

import types

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs import distillation
from kd_tfrs.distillation import (
    BinarySoftTargets,
    DistillationTerm,
    FeatureLoss,
    Hint,
    RelationalDistance,
    RelaxedRanking,
    ScoreRegression,
    SoftTargets,
)
from kd_tfrs.distillation.ranking import (
    CachedTeacher,
    CalibratedSoftTargets,
    DistillationEarlyStopping,
    NetworkOutputs,
    NetworkTeacher,
    RankingDistiller,
    RankingEnsemble,
    SessionLists,
    TaskLogits,
)
from kd_tfrs.distillation.retrieval import Distiller, InBatch
from kd_tfrs.distillation.step_inputs import OutputStepInputs
from kd_tfrs.errors import UserError

SGD = tf.keras.optimizers.legacy.SGD
LIKED_OVER = TaskLogits("liked")


class LinearAdversary(FeatureLoss):
    """A loss with an adversary, linear in its inputs."""

    def adversary_loss(self, inputs):
        teacher, student = (tf.reduce_sum(x, 1) for x in inputs[:2])
        apart = inputs.weight * (teacher - 3 * student)
        return tf.reduce_sum(apart) + tf.cast(inputs.step, tf.float32)


def compiled(distiller, optimizer=None, eagerly=True):
    distiller.compile(optimizer=optimizer or SGD(0.1), run_eagerly=eagerly)
    return distiller


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-np.float64(x)))


def cross_entropy(p, z):
    """Of probabilities and logits, at any size of the logits."""
    z = np.float64(z)
    return np.logaddexp(0.0, z) - p * z


def test_the_parts_equal_numpy_and_the_total_is_their_sum(world):
    tasks = (world.liked, world.rating)
    student, model = world.student(tasks), world.teacher(tasks)
    terms = [
        DistillationTerm(BinarySoftTargets(2.0), LIKED_OVER),
        DistillationTerm(ScoreRegression(), TaskLogits("rating")),
    ]
    distiller = compiled(
        RankingDistiller(NetworkTeacher(model), student, terms, [0.5, 2.0], 0.7)
    )
    batch = world.batch()
    logs = distiller.test_step(batch)
    assert list(logs) == [
        "loss", "student_loss", "binary_soft_targets", "score_regression",
    ]  # fmt: skip
    teacher_values, student_values = (
        model(batch, training=False),
        student(batch),
    )
    w = world.weights / world.weights.sum()
    p = sigmoid(teacher_values["logits_liked"].numpy() / 2.0)
    soft = cross_entropy(p, student_values["logits_liked"].numpy() / 2.0)
    squares = (
        teacher_values["logits_rating"] - student_values["logits_rating"]
    ).numpy() ** 2
    np.testing.assert_allclose(
        logs["binary_soft_targets"], 4.0 * (w * soft).sum(), rtol=1e-5
    )
    np.testing.assert_allclose(
        logs["score_regression"], (w * squares).sum(), rtol=1e-5
    )
    np.testing.assert_allclose(
        logs["student_loss"],
        student.task_loss(batch, student_values),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        logs["loss"],
        0.7 * logs["student_loss"]
        + 0.5 * logs["binary_soft_targets"]
        + 2.0 * logs["score_regression"],
        rtol=1e-6,
    )


def test_a_step_goes_down_the_gradient_of_soft_targets(world, fixed_teacher):
    # d/ds of T^2 H(sigma(t/T), sigma(s/T)) is T (sigma(s/T) - sigma(t/T)):
    # the bias of the head moves by the weighted mean of it.
    student = world.student()
    teacher_values = np.linspace(-3, 3, 24)
    teacher = fixed_teacher(logits_liked=teacher_values)
    distiller = compiled(
        RankingDistiller(teacher, student, BinarySoftTargets(2.0), 1.0, 0.0)
    )
    batch = world.batch()
    student_values = student(batch)["logits_liked"].numpy()
    bias = student.network.get_layer("head_liked").bias
    before = bias.numpy()[0]
    distiller.train_step(batch)
    w = world.weights / world.weights.sum()
    slope = (
        w
        * 2.0
        * (sigmoid(student_values / 2.0) - sigmoid(teacher_values / 2.0))
    ).sum()
    np.testing.assert_allclose(bias.numpy()[0], before - 0.1 * slope, rtol=1e-5)


def test_the_student_and_each_teacher_run_once_a_step(world, fixed_teacher):
    student = world.student()
    calls = []
    run = student.call
    student.call = lambda batch, training=False: (
        calls.append(training) or run(batch, training)
    )
    hidden = np.random.default_rng(0).normal(size=(24, 3))
    teacher = fixed_teacher(logits_liked=np.zeros(24), hidden_0=hidden)
    teacher.widths = {"logits_liked": 1, "hidden_0": 3}
    terms = [
        DistillationTerm(BinarySoftTargets(), LIKED_OVER),
        DistillationTerm(Hint(), NetworkOutputs("hidden_0", "hidden_0")),
        DistillationTerm(SoftTargets(), SessionLists("liked")),
    ]
    distiller = compiled(RankingDistiller(teacher, student, terms))
    distiller.train_step(world.batch())
    assert calls == [True]
    assert teacher.num_calls == 1


def test_the_teacher_sees_more_and_never_changes(world):
    model = world.teacher()
    before = [w.copy() for w in model.get_weights()]
    teacher = NetworkTeacher(model)
    student = world.student()
    assert "position" in model.feature_names
    assert "position" not in student.feature_names
    terms = [
        DistillationTerm(BinarySoftTargets(), LIKED_OVER),
        DistillationTerm(Hint(), NetworkOutputs("hidden_1", "hidden_0")),
        DistillationTerm(
            RelationalDistance(), NetworkOutputs("interaction", "embeddings")
        ),
    ]
    distiller = compiled(RankingDistiller(teacher, student, terms, [1, 1, 1]))
    names = [w.name for w in distiller.trainable_variables]
    distiller.fit(world.batches().dataset(1), epochs=1, verbose=0)
    for w, same in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(w, same)
    assert model.trainable
    own = {w.ref() for w in model.trainable_variables}
    assert not own & {w.ref() for w in distiller.trainable_variables}
    assert len(names) == len(student.trainable_variables) + 2  # projection
    with tf.GradientTape() as tape:
        tape.watch(model.trainable_variables)
        student_values = teacher.outputs(world.batch())
        total = tf.add_n([tf.reduce_sum(x) for x in student_values.values()])
    assert tape.gradient(total, model.trainable_variables) == [None] * len(own)
    # Without dropout, though it trains with half of it.
    first = teacher.outputs(world.batch())["logits_liked"]
    again = teacher.outputs(world.batch())["logits_liked"]
    np.testing.assert_array_equal(first, again)


def test_the_epoch_does_not_depend_on_the_batch_size(world):
    teacher = NetworkTeacher(world.teacher())
    terms = [
        DistillationTerm(BinarySoftTargets(), LIKED_OVER),
        DistillationTerm(Hint(), NetworkOutputs("hidden_0", "hidden_0")),
    ]
    distiller = compiled(RankingDistiller(teacher, world.student(), terms))
    found = [
        distiller.evaluate(
            world.batches().in_order(size), return_dict=True, verbose=0
        )
        for size in (24, 7)
    ]
    for name in ("binary_soft_targets", "hint"):
        values = [logs[name] for logs in found]
        np.testing.assert_allclose(values, values[0], rtol=1e-5)


def test_rows_without_a_teacher_output_do_not_count(world, fixed_teacher):
    teacher_values = np.linspace(-2, 2, 24)
    teacher_values[5:] = np.nan
    hidden = np.repeat(teacher_values[:, None], 2, 1)
    teacher = fixed_teacher(logits_liked=teacher_values, hidden_0=hidden)
    teacher.widths = {"logits_liked": 1, "hidden_0": 2}
    student = world.student()
    terms = [
        DistillationTerm(ScoreRegression(), LIKED_OVER),
        DistillationTerm(Hint(), NetworkOutputs("hidden_0", "hidden_0")),
        DistillationTerm(CalibratedSoftTargets(), LIKED_OVER),
        DistillationTerm(SoftTargets(), SessionLists("liked")),
    ]
    distiller = compiled(RankingDistiller(teacher, student, terms))
    batch = world.batch()
    student_values = student(batch)["logits_liked"].numpy()
    logs = distiller.train_step(batch)
    w = world.weights[:5] / world.weights[:5].sum()
    np.testing.assert_allclose(
        logs["score_regression"],
        (w * (teacher_values[:5] - student_values[:5]) ** 2).sum(),
        rtol=1e-5,
    )
    assert all(np.isfinite(x) for x in logs.values())
    for variable in distiller.trainable_variables:
        assert np.isfinite(variable.numpy()).all(), variable.name


def test_extreme_logits_stay_finite(world, fixed_teacher):
    teacher_values = np.where(np.arange(24) % 2, 1e4, -1e4)
    student = world.student()
    terms = [
        DistillationTerm(BinarySoftTargets(), LIKED_OVER),
        DistillationTerm(CalibratedSoftTargets(), LIKED_OVER),
        DistillationTerm(RelaxedRanking(), SessionLists("liked")),
    ]
    distiller = compiled(
        RankingDistiller(
            fixed_teacher(logits_liked=teacher_values),
            student,
            terms,
            [1, 1, 1],
        )
    )
    student_values = student(world.batch())["logits_liked"].numpy()
    logs = distiller.train_step(world.batch())
    w = world.weights / world.weights.sum()
    expected = (w * cross_entropy(teacher_values > 0, student_values)).sum()
    np.testing.assert_allclose(logs["binary_soft_targets"], expected, rtol=1e-5)
    assert all(np.isfinite(x) for x in logs.values())
    for variable in student.trainable_variables:
        assert np.isfinite(variable.numpy()).all()


def test_no_label_and_no_weight(world, fixed_teacher):
    # A row without a label counts; one without a weight does not.
    student = world.student()
    distiller = compiled(
        RankingDistiller(
            fixed_teacher(logits_liked=np.ones(24)), student, ScoreRegression()
        )
    )
    batch = dict(world.batch())
    weight = np.zeros(24, np.float32)
    weight[3] = 2.0  # Its label is NaN.
    batch["weight"] = tf.constant(weight)
    student_values = student(batch)["logits_liked"].numpy()[3]
    logs = distiller.test_step(batch)
    np.testing.assert_allclose(
        logs["score_regression"], (1 - student_values) ** 2, rtol=1e-5
    )
    assert logs["student_loss"] == 0.0


def test_a_graph_gives_what_eager_steps_give(world):
    found = []
    teacher_values = np.linspace(-2, 2, 24).astype(np.float16)
    cached = CachedTeacher({"logits_liked": teacher_values})
    for eagerly in (True, False):
        student = world.student()
        distiller = compiled(
            RankingDistiller(
                cached,
                student,
                DistillationTerm(RelaxedRanking(), SessionLists("liked")),
            ),
            eagerly=eagerly,
        )
        distiller.fit(world.batches().dataset(1), verbose=0)
        found.append(student.get_weights())
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_a_student_learns_the_outputs_of_its_teacher(world):
    teacher = NetworkTeacher(world.network(seed=5))
    student = world.student(seed=6)
    distiller = compiled(
        RankingDistiller(teacher, student, BinarySoftTargets(), 1.0, 0.0),
        tf.keras.optimizers.legacy.Adam(0.05),
        eagerly=False,
    )
    batches = world.batches(24)

    def gap():
        batch = world.batch()
        teacher_values = teacher.outputs(batch)["logits_liked"]
        return np.abs(teacher_values - student(batch)["logits_liked"]).mean()

    before = gap()
    distiller.fit(batches.dataset(150), verbose=0)
    assert gap() < 0.15 * before


def test_terms_may_have_teachers_of_their_own(world, fixed_teacher):
    first, second = (
        fixed_teacher(logits_liked=np.full(24, x)) for x in (0.0, 3.0)
    )
    student = world.student()
    terms = [
        DistillationTerm(ScoreRegression(), LIKED_OVER),
        DistillationTerm(ScoreRegression(), LIKED_OVER, teacher=second),
    ]
    distiller = compiled(RankingDistiller(first, student, terms, [1.0, 1.0]))
    logs = distiller.test_step(world.batch())
    names = list(logs)[2:]
    assert names == ["score_regression", "score_regression_liked_teacher_1"]
    student_values = student(world.batch())["logits_liked"].numpy()
    w = world.weights / world.weights.sum()
    for name, teacher_values in zip(names, (0.0, 3.0), strict=True):
        np.testing.assert_allclose(
            logs[name],
            (w * (student_values - teacher_values) ** 2).sum(),
            rtol=1e-5,
        )


def test_across_tasks_and_with_an_offset(world, fixed_teacher):
    tasks = (world.liked, world.clicked)
    student = world.student(tasks)
    teacher = fixed_teacher(logits_clicked=np.linspace(-1, 1, 24))
    candidates = TaskLogits("liked", teacher_task="clicked", offset=-2.0)
    assert candidates.name == "liked_from_clicked"
    distiller = compiled(
        RankingDistiller(
            teacher, student, DistillationTerm(ScoreRegression(), candidates)
        )
    )
    logs = distiller.test_step(world.batch())
    student_values = student(world.batch())["logits_liked"].numpy()
    w = world.weights / world.weights.sum()
    squares = (np.linspace(-1, 1, 24) - 2.0 - student_values) ** 2
    np.testing.assert_allclose(
        logs["score_regression"], (w * squares).sum(), rtol=1e-5
    )


def test_a_rating_teaches_a_binary_task_only_by_way_of_its_labels(world):
    tasks = (world.liked, world.rating)
    student = world.student(tasks)
    teacher = NetworkTeacher(world.network(tasks=tasks))
    over = TaskLogits("liked", teacher_task="rating")
    RankingDistiller(
        teacher, student, DistillationTerm(CalibratedSoftTargets(), over)
    )
    with pytest.raises(UserError, match="computed on logits of binary"):
        RankingDistiller(
            teacher, student, DistillationTerm(BinarySoftTargets(), over)
        )


def test_a_member_of_an_ensemble_gives_hints(world):
    teacher = RankingEnsemble(
        [NetworkTeacher(world.teacher(seed=s)) for s in (3, 4)]
    )
    term = DistillationTerm(
        Hint(), NetworkOutputs("teacher_1_hidden_0", "hidden_0", 6)
    )
    student = world.student()
    distiller = compiled(RankingDistiller(teacher, student, term))
    logs = distiller.test_step(world.batch())
    hidden = student(world.batch())["hidden_0"][:6]
    teacher_values = world.teacher(seed=4)(world.batch())["hidden_0"][:6]
    errors = tf.reduce_sum(
        (term.loss.projection(hidden) - teacher_values) ** 2, 1
    )
    w = world.weights[:6] / world.weights[:6].sum()
    np.testing.assert_allclose(
        logs["hint"], (w * errors.numpy()).sum(), rtol=1e-5
    )


def test_two_rows_are_the_fewest_that_give_hints(world):
    over = NetworkOutputs("hidden_0", "hidden_0", 2)
    batch, student = world.batch(), world.student()
    outputs = student(batch)
    inputs = over.select(batch, outputs, outputs)
    np.testing.assert_array_equal(inputs.student, outputs["hidden_0"][:2])
    np.testing.assert_array_equal(inputs.weight, world.weights[:2])


def test_early_stop_on_the_distillation_loss(world):
    # The student starts as its teacher, so that its first epoch on labels
    # alone takes it away: training stops, and the start's epoch comes back.
    student = world.student(seed=5)
    teacher = NetworkTeacher(world.network(seed=5))
    distiller = compiled(
        RankingDistiller(
            teacher, student, ScoreRegression(), 1e-6, student_loss_weight=1.0
        )
    )
    weights = []
    keep = tf.keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: weights.append(student.get_weights())
    )
    history = distiller.fit(
        world.batches(24).dataset(5),
        epochs=5,
        steps_per_epoch=1,
        validation_data=world.batches(24).in_order(),
        callbacks=[keep, DistillationEarlyStopping(patience=1)],
        verbose=0,
    ).history
    values = history["val_distillation_loss"]
    assert len(values) < 5
    np.testing.assert_allclose(
        values, 1e-6 * np.array(history["val_score_regression"]), rtol=1e-5
    )
    best = weights[int(np.argmin(values))]
    for kept, found in zip(best, student.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, found)
    with pytest.raises(UserError, match="validation_data"):
        distiller.fit(
            world.batches(24).dataset(1),
            callbacks=[DistillationEarlyStopping()],
            verbose=0,
        )


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        (SoftTargets(), "SoftTargets.*one score a row"),
        (RelaxedRanking(), "SessionLists"),
        (DistillationTerm(ScoreRegression(), InBatch()), "for retrieval"),
        (
            DistillationTerm(ScoreRegression(), TaskLogits("bought")),
            "logits_bought",
        ),
        (
            DistillationTerm(ScoreRegression(), TaskLogits("liked", "bought")),
            "NetworkTeacher.*logits_bought",
        ),
        (
            DistillationTerm(
                ScoreRegression(), TaskLogits("liked", auxiliary=True)
            ),
            "with_auxiliary_head",
        ),
        (
            DistillationTerm(Hint(), NetworkOutputs("hidden_7", "hidden_0")),
            "hidden_7",
        ),
        (
            DistillationTerm(Hint(), NetworkOutputs("hidden_0", "hidden_7")),
            "hidden_7",
        ),
        ([], "at least one"),
        (Hint(), "NetworkOutputs"),
    ],
)
def test_terms_that_do_not_fit_raise_errors(world, losses, message):
    teacher = NetworkTeacher(world.network(seed=5))
    with pytest.raises(UserError, match=message):
        RankingDistiller(teacher, world.student(), losses)


@pytest.mark.parametrize(
    "loss",
    [
        distillation.AdversarialSoftTargets(),
        distillation.ConfidenceWeighted(SoftTargets()),
        distillation.CorrelationLoss(),
        distillation.CurriculumTemperature(),
        distillation.DecoupledSoftTargets(),
        distillation.GatedSoftTargets(2),
        distillation.JensenShannon(),
        distillation.LambdaDistill(),
        distillation.MarginMSE(),
        distillation.RankNetDistillation(),
        distillation.RejuvenatedCrossEntropy(),
        distillation.SoftLabelLikelihood(),
        distillation.TeacherHardLabel(),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_a_loss_that_would_be_silent_over_single_scores_is_refused(world, loss):
    anyone = NetworkTeacher(lambda features: {})
    student = types.SimpleNamespace(tasks=(world.liked,))
    with pytest.raises(UserError, match="one score a row"):
        LIKED_OVER.prepare(loss, anyone, student, {"logits_liked": 1})


def test_wrong_models_raise_errors(world):
    student = world.student()
    with pytest.raises(UserError, match="NetworkTeacher"):
        RankingDistiller(student, student, ScoreRegression())
    with pytest.raises(UserError, match="RankingModel"):
        RankingDistiller(
            NetworkTeacher(student), student.network, ScoreRegression()
        )
    with pytest.raises(UserError, match="TwoTowerTeacher"):
        Distiller(NetworkTeacher(student), student, ScoreRegression())
    with pytest.raises(UserError, match="several tasks"):
        RankingDistiller(
            NetworkTeacher(student),
            world.student((world.liked, world.clicked)),
            ScoreRegression(),
        )
    rated = world.student((world.rating,))
    with pytest.raises(UserError, match="binary tasks"):
        RankingDistiller(NetworkTeacher(rated), rated, BinarySoftTargets())
    with pytest.raises(UserError, match="num_rows"):
        NetworkOutputs("hidden_0", "hidden_0", 1)


def test_an_adversary_compares_both_sides_and_moves_no_student(
    world, fixed_teacher
):
    # sum_i w_i (sum(t_i) - 3 sum(s_i)) + step; a row without an
    # output of the teacher has the weight 0.
    hidden = np.random.default_rng(1).normal(size=(24, 3))
    hidden[5] = np.nan
    teacher = fixed_teacher(hidden_0=hidden)
    term = DistillationTerm(
        LinearAdversary(), NetworkOutputs("hidden_0", "hidden_0"), teacher
    )
    student, batch = world.student(), world.batch()
    with tf.GradientTape() as tape:
        outputs = student(batch)
        inputs = OutputStepInputs(batch, outputs, 7).loss_inputs(term)
        value = term.loss.compute_adversary(inputs)
    s = outputs["hidden_0"].numpy().sum(axis=1)
    apart = np.nan_to_num(hidden).sum(axis=1) - 3 * s
    w = np.where(np.arange(24) == 5, 0, world.weights)
    np.testing.assert_allclose(value, (w * apart).sum() + 7, rtol=1e-5)
    variables = student.trainable_variables
    assert tape.gradient(value, variables) == [None] * len(variables)
