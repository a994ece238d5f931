"""One step: the student's own loss, the teacher's word, their sum."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation import (
    ConfidenceWeighted,
    CurriculumTemperature,
    DistillationTerm,
    ScoreRegression,
    SoftLabelLikelihood,
    SoftTargets,
    TeacherHardLabel,
)
from kd_tfrs.distillation.retrieval import (
    Distiller,
    EmbeddingTeacher,
    InBatch,
    Sampled,
    TeacherTopK,
    TwoTowerTeacher,
    build_cache,
)
from kd_tfrs.distillation.retrieval.batch_scores import EmbeddingScores
from kd_tfrs.errors import UserError
from kd_tfrs.models import LazyAdam
from kd_tfrs.testing.retrieval import tiny_world

TEACHER_TAU, TAU = 0.3, 0.5
SGD = tf.keras.optimizers.legacy.SGD
Decay = tf.keras.optimizers.schedules.PolynomialDecay
TERMS = (
    DistillationTerm(
        SoftTargets(2.0), TeacherTopK(k=4, num_random=6, num_queries=7)
    ),
    DistillationTerm(ScoreRegression(), Sampled(9)),
    SoftLabelLikelihood(),
    DistillationTerm(TeacherHardLabel(), InBatch()),
)
NAMES = [
    "soft_targets",
    "score_regression",
    "soft_label_likelihood",
    "teacher_hard_label",
]


@pytest.fixture(scope="module")
def world():
    return tiny_world(ids_only=True)


@pytest.fixture(scope="module")
def teacher_model(world):
    return world.model(6, temperature=TEACHER_TAU, dropout=0.5)


@pytest.fixture(scope="module")
def teacher(world, teacher_model):
    return TwoTowerTeacher(
        teacher_model.query_tower,
        teacher_model.candidate_tower,
        world.query_tables,
        world.candidate_tables,
        temperature=TEACHER_TAU,
        seen=world.seen(),
    )


def student_of(world, **options):
    return world.model(3, temperature=TAU, **options)


def compiled(distiller, optimizer=None, eagerly=True, **options):
    # A few eager steps are faster than a graph.
    distiller.compile(
        optimizer=optimizer or SGD(0.1), run_eagerly=eagerly, **options
    )
    return distiller


def fit(distiller, world, epochs=1, **options):
    batches = world.batches(16, num_uniform_negatives=3)
    steps = options.pop("steps_per_epoch", batches.steps_per_epoch)
    return distiller.fit(
        batches.dataset(epochs, join=distiller.join),
        epochs=epochs,
        steps_per_epoch=steps,
        verbose=0,
        **options,
    ).history


def weights_of(model):
    return [w.copy() for w in model.get_weights()]


def test_the_total_is_the_weighted_sum_of_its_parts(world, teacher):
    student = student_of(world)
    weights = (0.5, 0.25, 2.0, 1.5)
    distiller = compiled(
        Distiller(teacher, student, TERMS, weights, student_loss_weight=0.7)
    )
    batch = world.batch(distiller.join, num_uniform_negatives=3)
    logs = distiller.test_step(batch)
    assert list(logs) == ["loss", "student_loss", *NAMES]
    assert [m.name for m in distiller.metrics] == list(logs)
    expected = 0.7 * logs["student_loss"] + sum(
        w * logs[name] for w, name in zip(weights, NAMES, strict=True)
    )
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-6)


def test_the_parts_are_the_losses_themselves(world, teacher):
    student = student_of(world)
    distiller = compiled(Distiller(teacher, student, TERMS))
    batch = world.batch(distiller.join, num_uniform_negatives=3)
    logs = distiller.test_step(batch)
    outputs = student(batch)
    np.testing.assert_allclose(
        logs["student_loss"], student.task_loss(batch, outputs), rtol=1e-6
    )
    inputs = EmbeddingScores.of_student(outputs, TAU)
    teacher_scores = teacher.batch_scores(batch)
    for name, term in zip(NAMES, distiller._terms.value, strict=True):
        at = term.candidates.select(batch)
        expected = term.loss(
            teacher_scores.scores(at),
            inputs.scores(at),
            at.weight,
            mask=at.mask,
        )
        np.testing.assert_allclose(logs[name], expected, rtol=1e-5)


def test_the_hard_loss_is_the_one_of_training_alone(world, teacher):
    student = student_of(world)
    student.compile(optimizer=SGD(0.0))
    batches = world.batches()
    alone = student.evaluate(batches.dataset(1), return_dict=True, verbose=0)
    distiller = compiled(Distiller(teacher, student, SoftTargets()))
    together = distiller.test_step(world.batch())
    np.testing.assert_allclose(
        together["student_loss"],
        student.test_step(world.batch())["loss"],
        rtol=1e-6,
    )
    assert np.isfinite(alone["loss"])


def test_a_step_descends_the_total(world, teacher):
    student = student_of(world)
    distiller = compiled(Distiller(teacher, student, TERMS), SGD(0.1))
    batch = world.batch(distiller.join)
    variables = student.trainable_variables
    with tf.GradientTape() as tape:
        parts = distiller._parts(batch, training=False)[-1]
        total = distiller._total(parts, [1.0] * (len(parts) - 1))
    slopes = tape.gradient(total, variables)
    before = [v.numpy() for v in variables]
    distiller.train_step(batch)
    for variable, old, slope in zip(variables, before, slopes, strict=True):
        np.testing.assert_allclose(
            variable, old - 0.1 * tf.convert_to_tensor(slope), atol=1e-6
        )


def test_logs_are_means_over_the_epoch(world, teacher):
    distiller = compiled(
        Distiller(teacher, student_of(world), TERMS[:1]), SGD(0.0)
    )
    batches = world.batches(16, num_uniform_negatives=3)
    each = []
    for batch in batches.dataset(1, join=distiller.join):
        distiller.reset_metrics()
        logs = distiller.test_step(batch)
        weight = float(tf.reduce_sum(batch["event_weight"]))
        each.append([weight, *map(float, logs.values())])
    each = np.array(each)
    history = fit(distiller, world)
    expected = each[:, :1].T @ each[:, 1:] / each[:, 0].sum()
    np.testing.assert_allclose(
        [history[name][0] for name in logs], expected[0], rtol=1e-5
    )


def count_calls(model):
    """Notes the `training` argument of every call, in the order of calls."""
    noted, call = [], model.call

    def counting(*args, **kwargs):
        noted.append(kwargs.get("training"))
        return call(*args, **kwargs)

    model.call = counting
    return noted


def test_the_student_runs_forward_once_a_step(world, teacher):
    student = student_of(world)
    distiller = compiled(Distiller(teacher, student, TERMS))
    models = (student, student.query_tower, student.candidate_tower)
    noted = [count_calls(model) for model in models]
    fit(distiller, world, steps_per_epoch=3)
    # Once before the training, on its first batch.
    assert noted == [[False] + [True] * 3] * 3
    batch = world.batch(distiller.join)
    distiller.test_step(batch)
    assert noted == [[False] + [True] * 3 + [False]] * 3


def test_dropout_drops_in_training_only(world, teacher):
    student = student_of(world, dropout=0.5, normalize=False)
    distiller = compiled(Distiller(teacher, student, TERMS[:1]), SGD(0.0))
    batch = world.batch(distiller.join)

    def value(step):
        distiller.reset_metrics()
        return float(step(batch)["loss"])

    without_gradients = [value(distiller.test_step) for _ in range(3)]
    assert len(set(without_gradients)) == 1
    assert len({value(distiller.train_step) for _ in range(3)}) == 3
    # `call` passes it on too.
    a, b = (
        distiller(batch, training=flag)["query"]["embedding"]
        for flag in (False, True)
    )
    assert not np.allclose(a, b)


def test_the_teacher_is_neither_trained_nor_saved(
    world, teacher, teacher_model
):
    before = weights_of(teacher_model)
    flags = [layer.trainable for layer in teacher_model.submodules]
    student = student_of(world)
    distiller = compiled(Distiller(teacher, student, TERMS[:1]), LazyAdam(0.1))
    assert distiller.teacher is teacher
    fit(distiller, world, epochs=2)
    for old, new in zip(before, teacher_model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert flags == [layer.trainable for layer in teacher_model.submodules]
    own = {v.ref() for v in distiller.trainable_variables}
    assert own == {v.ref() for v in student.trainable_variables}
    theirs = {v.ref() for v in teacher_model.variables}
    assert not theirs & {v.ref() for v in distiller.variables}


def test_the_student_changes_by_training_alone(world, teacher):
    student = student_of(world)
    towers = (student.query_tower, student.candidate_tower)
    before, settings = weights_of(student), dict(vars(student.task))
    distiller = compiled(Distiller(teacher, student, TERMS[:1]), SGD(0.0))
    fit(distiller, world)
    assert distiller.student is student
    assert towers == (student.query_tower, student.candidate_tower)
    assert settings.keys() == vars(student.task).keys()
    assert student.temperature == TAU
    for old, new in zip(before, student.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    compiled(distiller, SGD(0.1))
    fit(distiller, world)
    assert not np.array_equal(before[0], student.get_weights()[0])


def test_a_student_converges_to_its_teacher(world):
    rng = np.random.default_rng(1)
    vectors = [rng.normal(size=(n, 3)) for n in (13, 20)]
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in vectors]
    teacher = EmbeddingTeacher(*unit, temperature=TAU)
    distiller = compiled(
        Distiller(
            teacher,
            student_of(world),
            DistillationTerm(SoftTargets(), TeacherTopK(k=20, num_queries=64)),
            student_loss_weight=0.0,
        ),
        LazyAdam(0.1),
        eagerly=False,
    )
    losses = fit(distiller, world, epochs=25)["soft_targets"]
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_cached_teacher_is_equal(world, teacher, tmp_path, dtype):
    cached = build_cache(
        teacher, tmp_path, fingerprint="x", k=9, dtype=dtype, progress=False
    )
    student = student_of(world)
    logs = []
    for knows in (teacher, cached):
        distiller = compiled(Distiller(knows, student, TERMS))
        batch = world.batch(distiller.join)
        logs.append([float(v) for v in distiller.test_step(batch).values()])
    rtol = 1e-5 if dtype == "float32" else 1e-2
    np.testing.assert_allclose(*logs, rtol=rtol)


def test_weights_and_temperatures_follow_their_schedules(world, teacher):
    hot = SoftTargets(Decay(8.0, 4, 2.0))
    fixed = [SoftTargets(8.0 - 1.5 * step) for step in range(4)]
    student = student_of(world)
    distiller = compiled(
        Distiller(
            teacher, student, hot, Decay(1.0, 4, 0.0), Decay(0.0, 4, 1.0)
        ),
        SGD(0.0),
    )
    batch = world.batch(distiller.join)
    for step, loss in enumerate(fixed):
        other = compiled(Distiller(teacher, student, loss))
        distiller.reset_metrics()
        logs = distiller.train_step(batch)
        inputs = other.test_step(batch)["soft_targets"]
        np.testing.assert_allclose(logs["soft_targets"], inputs, rtol=1e-5)
        share = step / 4
        np.testing.assert_allclose(
            logs["loss"],
            (1 - share) * inputs + share * logs["student_loss"],
            rtol=1e-5,
        )


def test_schedules_are_followed_inside_the_graph(world, teacher):
    distiller = compiled(
        Distiller(
            teacher, student_of(world), SoftTargets(), 0.0, Decay(4.0, 4, 0.0)
        ),
        SGD(0.0),
        eagerly=False,
    )
    batch = tf.data.Dataset.from_tensors(world.batch()).repeat()
    history = distiller.fit(batch, epochs=5, steps_per_epoch=1, verbose=0)
    ratio = np.divide(history.history["loss"], history.history["student_loss"])
    np.testing.assert_allclose(ratio, [4, 3, 2, 1, 0], atol=1e-5)


def test_weights_by_default_share_what_the_student_leaves(world, teacher):
    distiller = Distiller(
        teacher, student_of(world), TERMS, student_loss_weight=0.2
    )
    np.testing.assert_allclose(distiller._weights.value, [0.2] * 4)


def test_losses_of_one_name_have_different_names_in_logs(world, teacher):
    same = [SoftTargets(t) for t in (1.0, 2.0, 4.0)]
    terms = [
        *same,
        DistillationTerm(SoftTargets(), Sampled(4)),
        ScoreRegression(name="loss"),
    ]
    distiller = compiled(Distiller(teacher, student_of(world), terms, [1] * 5))
    logs = distiller.test_step(world.batch(distiller.join))
    assert list(logs) == [
        "loss",
        "student_loss",
        "soft_targets",
        "soft_targets_in_batch",
        "soft_targets_in_batch_2",
        "soft_targets_sampled_4",
        "loss_in_batch",
    ]
    np.testing.assert_allclose(
        logs["loss"],
        0.5 * logs["student_loss"] + sum(list(logs.values())[2:]),
        rtol=1e-6,
    )


def test_losses_share_the_candidates_of_equal_samplers(world, teacher):
    terms = [
        DistillationTerm(loss, Sampled(5))
        for loss in (SoftTargets(), ScoreRegression())
    ]
    distiller = Distiller(teacher, student_of(world), terms)
    batch = world.batch(distiller.join)
    assert batch["candidate_row"].shape == [8 + 5]


def test_regularisation_counts(world, teacher):
    student = student_of(world)
    table = student.query_tower.layers[-1]
    table.add_loss(lambda: tf.constant(100.0))
    distiller = compiled(Distiller(teacher, student, SoftTargets()))
    logs = distiller.test_step(world.batch())
    rest = 0.5 * (logs["student_loss"] + logs["soft_targets"])
    np.testing.assert_allclose(logs["loss"] - rest, 100.0, rtol=1e-5)


def test_several_steps_an_execution(world, teacher):
    distiller = compiled(
        Distiller(teacher, student_of(world), SoftTargets()),
        eagerly=False,
        steps_per_execution=2,
    )
    history = fit(distiller, world, epochs=2, steps_per_epoch=4)
    assert int(distiller.optimizer.iterations) == 8
    assert np.isfinite(history["loss"]).all()


def test_mixed_precision(world, teacher):
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        student = student_of(world, hidden_units=(8,))
        distiller = compiled(Distiller(teacher, student, TERMS), LazyAdam(0.01))
        before = weights_of(student)
        history = fit(distiller, world, steps_per_epoch=3)
        embedding = student(world.batch())["query"]["embedding"]
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert embedding.dtype == tf.float32
    assert np.isfinite([v for values in history.values() for v in values]).all()
    assert all(np.isfinite(w).all() for w in student.get_weights())
    assert not np.array_equal(before[0], student.get_weights()[0])


def test_wrong_arguments_raise_errors(world, teacher, teacher_model):
    student, loss = student_of(world), SoftTargets()
    schedule = Decay(1.0, 4, 0.0)
    for message, arguments in {
        "`teacher` should be a kd_tfrs Teacher": (teacher_model, student, loss),
        "`student` should have a `task_loss`": (
            teacher,
            tf.keras.Sequential(),
            loss,
        ),
        "at least one loss": (teacher, student, []),
        "should hold DistillationLoss": (teacher, student, "soft_targets"),
        "one weight for each of the 2": (teacher, student, [loss, loss], [1.0]),
        "`distillation_loss_weights` should be a number": (
            teacher,
            student,
            loss,
            -1.0,
        ),
        "`student_loss_weight` should be a number": (
            teacher,
            student,
            loss,
            1.0,
            -0.5,
        ),
        "leaves nothing of 1": (teacher, student, loss, None, 1.0),
        "`student_loss_weight` is a schedule": (
            teacher,
            student,
            loss,
            None,
            schedule,
        ),
    }.items():
        with pytest.raises(UserError, match=message):
            Distiller(*arguments)
    distiller = compiled(Distiller(teacher, student, TERMS))
    with pytest.raises(UserError, match=r"join=distiller\.join"):
        distiller.test_step(world.batch())


@pytest.mark.parametrize(
    ("curriculum_steps", "moves"), [(10**6, False), (1, True)]
)
@pytest.mark.parametrize("wrap", [False, True])
def test_a_temperature_follows_its_curriculum_under_adam(
    world, teacher, curriculum_steps, moves, wrap
):
    # Adam divides the strength of the reversed gradient out again: under it,
    # a temperature of strength 0 moved as far as one of strength 1.
    tf.keras.utils.set_random_seed(0)
    curriculum = CurriculumTemperature(
        curriculum_steps, layer_optimizer=SGD(1.0)
    )
    loss = ConfidenceWeighted(curriculum) if wrap else curriculum
    distiller = Distiller(teacher, student_of(world), loss)
    compiled(distiller, tf.keras.optimizers.legacy.Adam(0.05), eagerly=False)
    (layer,) = curriculum.trainable_layers
    before = float(layer(1.0))
    fit(distiller, world, epochs=12)
    moved = abs(float(layer(1.0)) - before)
    assert moved > 1e-4 if moves else moved < 1e-5
    assert curriculum.layer_optimizer in distiller.checkpointed
    assert layer in distiller.checkpointed


def test_a_loss_that_is_not_finite_ends_the_training(world, teacher):
    student = student_of(world)
    distiller = Distiller(teacher, student, SoftTargets(2.0))
    compiled(distiller, SGD(np.inf), eagerly=False)
    with pytest.raises(UserError) as error:
        fit(distiller, world, epochs=5)
    message = str(error.value)
    assert "\n" not in message
    assert "Received: nan in epoch" in message
    assert "Lower the learning rate" in message
