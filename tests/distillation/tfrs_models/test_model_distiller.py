"""Any `tfrs.Model` as teacher and student: values, gradients, mistakes."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs
import tutorials

from kd_tfrs.distillation import (
    BinarySoftTargets,
    DistillationTerm,
    Hint,
    ScoreRegression,
    SoftTargets,
)
from kd_tfrs.distillation.tfrs_models import (
    ModelDistiller,
    TaskEmbeddings,
    TaskScores,
)
from kd_tfrs.distillation.tfrs_models.task_calls import record_tasks
from kd_tfrs.errors import UserError

LOSSES = {
    "basic_retrieval": lambda: SoftTargets(temperature=2.0),
    "basic_ranking": ScoreRegression,
    "multitask": lambda: [SoftTargets(temperature=2.0), ScoreRegression()],
    "deep_and_cross": ScoreRegression,
    "sequential": lambda: SoftTargets(temperature=2.0),
    "context_features": lambda: SoftTargets(temperature=2.0),
}


def spread(*models):
    """Larger weights: initial scores are too close for float32."""
    for model in models:
        model.set_weights([20.0 * w for w in model.get_weights()])


def adagrad():
    return tf.keras.optimizers.legacy.Adagrad(0.1)


@pytest.mark.parametrize("name", LOSSES)
def test_a_tutorial_model_is_distilled_unchanged(name, models, dataset):
    teacher, student = models[name](8), models[name](3)
    distiller = ModelDistiller(teacher, student, LOSSES[name]())
    distiller.compile(adagrad())
    before = [w.numpy() for w in teacher.trainable_variables]
    history = distiller.fit(dataset, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    after = [w.numpy() for w in teacher.trainable_variables]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
    tracked = {id(v) for v in distiller.variables}
    assert not tracked & {id(v) for v in teacher.variables}
    # The student trains alone afterwards, as it did before.
    student.compile(adagrad())
    assert np.isfinite(student.fit(dataset, verbose=0).history["loss"][0])


def test_the_total_is_the_models_loss_and_the_scaled_divergence(
    models, dataset
):
    # TFRS's retrieval loss is a sum over the batch, so that the mean
    # divergence is multiplied by the number of rows.
    teacher, student = (
        models["basic_retrieval"](8),
        models["basic_retrieval"](3),
    )
    spread(teacher, student)
    batch = next(iter(dataset))
    distiller = ModelDistiller(
        teacher, student, SoftTargets(2.0), 0.7, student_loss_weight=0.3
    )
    distiller.compile(adagrad())
    logs = distiller.evaluate(
        tf.data.Dataset.from_tensors(batch), return_dict=True, verbose=0
    )
    users, films = batch["user_id"], batch["movie_title"]
    scores = [
        tf.matmul(m.user_model(users), m.movie_model(films), transpose_b=True)
        for m in (teacher, student)
    ]
    p, q = (tf.nn.softmax(x / 2.0).numpy() for x in scores)
    divergence = 4.0 * np.mean(np.sum(p * np.log(p / q), axis=1))
    own = float(student.compute_loss(batch))
    np.testing.assert_allclose(logs["soft_targets"], divergence, rtol=1e-4)
    np.testing.assert_allclose(logs["student_loss"], own, rtol=1e-5)
    np.testing.assert_allclose(
        logs["loss"], 0.3 * own + 0.7 * 32 * divergence, rtol=1e-5
    )


def test_only_the_student_loss_is_plain_training(models, dataset):
    # With a weight of 0 for the distillation, the steps are TFRS's own.
    name = "basic_ranking"
    teacher, student, plain = models[name](8), models[name](3), models[name](3)
    plain.set_weights(student.get_weights())
    distiller = ModelDistiller(
        teacher, student, ScoreRegression(), 0.0, student_loss_weight=1.0
    )
    distiller.compile(adagrad())
    plain.compile(adagrad())
    distiller.fit(dataset, epochs=2, verbose=0)
    plain.fit(dataset, epochs=2, verbose=0)
    for mine, its in zip(
        student.get_weights(), plain.get_weights(), strict=True
    ):
        np.testing.assert_allclose(mine, its, atol=1e-6)


def test_metrics_of_the_student_are_in_the_history(models, dataset):
    student = models["basic_ranking"](3)
    distiller = ModelDistiller(
        models["basic_ranking"](8), student, ScoreRegression()
    )
    distiller.compile(adagrad())
    history = distiller.fit(dataset, verbose=0, validation_data=dataset).history
    assert {"root_mean_squared_error", "val_root_mean_squared_error"} <= {
        *history
    }
    # Not those of a teacher, whose tasks compute nothing.
    assert np.isfinite(history["root_mean_squared_error"][0])


def test_embeddings_of_both_are_compared_by_a_learned_projection(
    models, dataset
):
    hint = Hint()
    distiller = ModelDistiller(
        models["multitask"](8),
        models["multitask"](3),
        [
            DistillationTerm(SoftTargets(2.0), TaskScores("retrieval_task")),
            DistillationTerm(hint, TaskEmbeddings("query")),
        ],
    )
    distiller.compile(adagrad())
    history = distiller.fit(dataset, epochs=4, verbose=0).history
    assert history["hint"][-1] < history["hint"][0]
    assert hint.trainable_layers[0] in distiller.checkpointed


def test_candidates_with_one_id_count_once(models, dataset):
    class WithIds(tfrs.Model):
        def __init__(self, base):
            super().__init__()
            self.base = base
            self.task = tfrs.tasks.Retrieval(temperature=0.5)

        def compute_loss(self, features, training=False):
            return self.task(
                self.base.user_model(features["user_id"]),
                self.base.movie_model(features["movie_title"]),
                candidate_ids=features["movie_title"],
            )

    made = [WithIds(models["basic_retrieval"](d)) for d in (8, 3)]
    spread(*(model.base for model in made))
    for model in made:
        model.compute_loss(next(iter(dataset)))
    distiller = ModelDistiller(*made, SoftTargets(1.0))
    distiller.compile(adagrad())
    batch = next(iter(dataset))
    films = batch["movie_title"].numpy()
    first = np.array([f not in films[:i] for i, f in enumerate(films)])
    counted = first[None, :] | np.eye(len(films), dtype=bool)
    logs = distiller.evaluate(
        tf.data.Dataset.from_tensors(batch), return_dict=True, verbose=0
    )
    values = []
    for model in made:
        users = model.base.user_model(batch["user_id"]).numpy()
        scores = users @ model.base.movie_model(films).numpy().T / 0.5
        weights = np.where(counted, np.exp(scores), 0.0)
        values.append(weights / weights.sum(axis=1, keepdims=True))
    p, q = values
    terms = np.where(counted, p * np.log(np.where(counted, p / q, 1.0)), 0.0)
    np.testing.assert_allclose(
        logs["soft_targets"], terms.sum(axis=1).mean(), rtol=1e-4
    )


def test_the_tasks_are_as_they_were_even_after_an_error(models):
    model = models["basic_retrieval"](3)
    with pytest.raises(KeyError), record_tasks(model):
        model.compute_loss({"user_id": tf.constant(["u1"])})
    assert "call" not in vars(model.task)


MISTAKES = {
    "a teacher without weights": (
        lambda m: ModelDistiller(
            tutorials.BasicRetrieval(["a"], ["b"], 3),
            m["basic_retrieval"](3),
            SoftTargets(),
        ),
        ["`teacher` should be trained", "BasicRetrieval"],
    ),
    "a teacher that is no model": (
        lambda m: ModelDistiller("x", m["basic_retrieval"](3), SoftTargets()),
        ["`teacher` should be a tfrs.Model", "str"],
    ),
    "a student without a task": (
        lambda m: ModelDistiller(
            m["basic_retrieval"](3), tfrs.Model(), SoftTargets()
        ),
        ["`student` should have a tfrs.tasks.Retrieval"],
    ),
    "scores of one row for ratings": (
        lambda m: ModelDistiller(
            m["basic_ranking"](8), m["basic_ranking"](3), SoftTargets()
        ),
        ["task of retrieval", "ScoreRegression"],
    ),
    "a teacher of another task": (
        lambda m: ModelDistiller(
            m["basic_ranking"](8), m["basic_retrieval"](3), SoftTargets()
        ),
        ["The teacher should have a task of retrieval"],
    ),
    "an unknown task": (
        lambda m: ModelDistiller(
            m["multitask"](8),
            m["multitask"](3),
            DistillationTerm(SoftTargets(), TaskScores("retrieval")),
        ),
        ["rating_task, retrieval_task", "'retrieval'"],
    ),
    "a hint without a side": (
        lambda m: ModelDistiller(
            m["basic_retrieval"](8), m["basic_retrieval"](3), Hint()
        ),
        ["TaskEmbeddings('query')"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_ends_in_one_line(name, models):
    make, words = MISTAKES[name]
    with pytest.raises(UserError) as error:
        make(models)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


FIT_MISTAKES = {
    "a missing feature": ({"user_id": ["u1"]}, ["student", "movie_title"]),
    "no data": (None, ["`x` should be a tf.data.Dataset", "NoneType"]),
}


@pytest.mark.parametrize("name", FIT_MISTAKES)
def test_data_that_do_not_fit_end_in_one_line(name, models):
    data, words = FIT_MISTAKES[name]
    if data:
        data = tf.data.Dataset.from_tensors(data)
    distiller = ModelDistiller(
        models["basic_retrieval"](8),
        models["basic_retrieval"](3),
        SoftTargets(),
    )
    distiller.compile(adagrad())
    with pytest.raises(UserError) as error:
        distiller.fit(data)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_soft_targets_of_ratings_are_refused(models, dataset):
    distiller = ModelDistiller(
        models["basic_ranking"](8),
        models["basic_ranking"](3),
        BinarySoftTargets(),
    )
    distiller.compile(adagrad())
    with pytest.raises(UserError, match="Take ScoreRegression"):
        distiller.fit(dataset)


def test_a_teacher_of_nan_is_refused(models):
    teacher = models["basic_retrieval"](8)
    teacher.set_weights([w * np.nan for w in teacher.get_weights()])
    student = models["basic_retrieval"](3)
    with pytest.raises(UserError, match="finite weights"):
        ModelDistiller(teacher, student, SoftTargets())
