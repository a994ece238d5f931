"""Scores of a whole catalogue for any `tfrs.Model`, against NumPy."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from kd_tfrs.distillation import DistillationTerm, SoftTargets
from kd_tfrs.distillation.losses import LossInputs, RelaxedRanking
from kd_tfrs.distillation.tfrs_models import (
    CatalogueScores,
    ModelDistiller,
    ScoreTableTeacher,
)

from .conftest import FILMS, USERS


@pytest.fixture
def towers(models):
    """Teacher and student, of weights whose scores float32 tells apart."""
    made = [models["basic_retrieval"](dim) for dim in (8, 3)]
    for model in made:
        model.set_weights([20.0 * w for w in model.get_weights()])
    return made


class Noted(SoftTargets):
    """Notes what it compares."""

    def compute(self, inputs):
        self.inputs = LossInputs(*inputs)
        return super().compute(inputs)


def compared(teacher, student, selector, dataset):
    """What a loss receives for the first batch."""
    loss = Noted(2.0)
    distiller = ModelDistiller(
        teacher, student, DistillationTerm(loss, selector)
    )
    distiller.compile(run_eagerly=True)
    distiller.evaluate(dataset.take(1), verbose=0)
    return loss.inputs


def all_scores(model, batch):
    users = model.user_model(batch["user_id"]).numpy()
    return users @ model.movie_model(np.array(FILMS)).numpy().T


films = tf.data.Dataset.from_tensor_slices(FILMS)
# A catalogue as `FactorizedTopK` takes it, or as arrays.
CATALOGUES = {
    "batches": lambda: films.batch(7),
    "scalars": lambda: films,
    "array": lambda: np.array(FILMS),
}


@pytest.mark.parametrize("given", CATALOGUES)
def test_all_candidates_are_compared(given, towers, dataset):
    teacher, student = towers
    selector = CatalogueScores(
        CATALOGUES[given](), student.movie_model, teacher.movie_model
    )
    inputs = compared(teacher, student, selector, dataset)
    batch = next(iter(dataset))
    for scores, model in ((inputs.teacher, teacher), (inputs.student, student)):
        np.testing.assert_allclose(scores, all_scores(model, batch), rtol=1e-4)


def test_the_lists_are_the_teachers_best_in_its_order(towers, dataset):
    teacher, student = towers
    embeddings = films.batch(6).map(lambda x: (x, teacher.movie_model(x)))
    selector = CatalogueScores(
        films.batch(7), student.movie_model, embeddings, k=4
    )
    inputs = compared(teacher, student, selector, dataset)
    batch = next(iter(dataset))
    its, own = (all_scores(model, batch) for model in towers)
    best = np.argsort(-its, axis=1)[:, :4]
    np.testing.assert_array_equal(inputs.rows, best)
    assert inputs.listed == 4
    for scores, wanted in ((inputs.teacher, its), (inputs.student, own)):
        np.testing.assert_allclose(
            scores, np.take_along_axis(wanted, best, axis=1), rtol=1e-4
        )


def test_a_table_of_scores_gives_the_lists(towers, dataset):
    student = towers[1]
    pairs = [(u, f) for u in USERS for f in FILMS if f != FILMS[3]]
    table = pd.DataFrame(pairs, columns=["user_id", "movie_title"])
    table["score"] = np.random.default_rng(1).normal(size=len(pairs))
    teacher = ScoreTableTeacher(table, "user_id", "movie_title")
    selector = CatalogueScores(np.array(FILMS), student.movie_model, k=5)
    inputs = compared(teacher, student, selector, dataset)
    users = next(iter(dataset))["user_id"].numpy().astype(str)
    for at, user in enumerate(users):
        best = table[table.user_id == user].nlargest(5, "score")
        np.testing.assert_allclose(inputs.teacher[at], best.score, rtol=1e-6)
        assert [FILMS[row] for row in inputs.rows[at]] == [*best.movie_title]
    assert inputs.mask.numpy().all()


def test_a_loss_over_lists_trains_the_students_tower(towers, dataset):
    teacher, student = towers
    selector = CatalogueScores(
        films.batch(7), student.movie_model, teacher.movie_model
    )
    lists = CatalogueScores(
        films.batch(7), student.movie_model, teacher.movie_model, k=5
    )
    terms = [
        DistillationTerm(SoftTargets(2.0), selector),
        DistillationTerm(RelaxedRanking(), lists),
    ]
    distiller = ModelDistiller(
        teacher, student, terms, [1.0, 0.1], student_loss_weight=0.0
    )
    distiller.compile(tf.keras.optimizers.legacy.Adagrad(0.1))
    history = distiller.fit(dataset, epochs=4, verbose=0).history
    for name in ("soft_targets", "relaxed_ranking"):
        assert history[name][-1] < history[name][0]
