"""Teachers from files and tables, each from its file to the student."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from kd_tfrs.distillation import (
    BinarySoftTargets,
    DistillationTerm,
    Hint,
    ScoreRegression,
    SoftTargets,
)
from kd_tfrs.distillation.tfrs_models import (
    ModelDistiller,
    PredictionTeacher,
    ScoreTableTeacher,
    TaskEmbeddings,
    TowersTeacher,
    load_model_file,
)
from kd_tfrs.errors import UserError

from .conftest import FILMS, USERS


def adagrad():
    return tf.keras.optimizers.legacy.Adagrad(0.1)


def fitted(teacher, student, losses, dataset):
    """The history of a few epochs."""
    count = len(losses) if isinstance(losses, list) else 1
    distiller = ModelDistiller(
        teacher, student, losses, [1.0] * count, student_loss_weight=0.0
    )
    distiller.compile(adagrad())
    before = {v.ref() for v in student.variables}
    history = distiller.fit(dataset, epochs=3, verbose=0).history
    own = {v.ref() for v in distiller.trainable_variables}
    assert own <= before | {
        v.ref() for m in distiller.checkpointed for v in m.variables
    }
    return history


def keras_3_ratings(path):
    """A Keras 3 model of ratings from raw ids, as a file."""
    import keras

    inputs, parts = [], []
    for name, ids in (("user_id", USERS), ("movie_title", FILMS)):
        given = keras.Input((), dtype="string", name=name)
        rows = keras.layers.StringLookup(vocabulary=ids)(given)
        inputs.append(given)
        parts.append(keras.layers.Embedding(len(ids) + 1, 8)(rows))
    together = keras.layers.Concatenate()(parts)
    model = keras.Model(inputs, keras.layers.Dense(1)(together))
    model.save(path)
    return model


def test_a_keras_3_file_teaches(tmp_path, models, dataset):
    path = tmp_path / "teacher.keras"
    model = keras_3_ratings(path)
    teacher = PredictionTeacher(
        load_model_file(path),
        predicts="values",
        inputs=("user_id", "movie_title"),
    )
    batch = next(iter(dataset))
    names = ("user_id", "movie_title")
    wanted = np.asarray(model([batch[name] for name in names]))
    np.testing.assert_allclose(
        teacher.outputs(batch)["task"].logits, wanted, rtol=1e-6
    )
    student = models["basic_ranking"](3)
    history = fitted(teacher, student, ScoreRegression(), dataset)
    assert history["score_regression"][-1] < history["score_regression"][0]


def test_a_keras_3_export_teaches(tmp_path, models, dataset):
    model = keras_3_ratings(tmp_path / "teacher.keras")
    model.export(tmp_path / "exported", verbose=False)
    names = ("user_id", "movie_title")
    loaded = load_model_file(tmp_path / "exported", "serving_default")
    teacher = PredictionTeacher(loaded, "values", names)
    batch = next(iter(dataset))
    np.testing.assert_allclose(
        teacher.outputs(batch)["task"].logits,
        np.asarray(model([batch[name] for name in names])),
        rtol=1e-6,
    )


def test_towers_of_saved_model_signatures_teach(tmp_path, models, dataset):
    made = models["basic_retrieval"](8)
    for side, tower in (("user", made.user_model), ("film", made.movie_model)):
        signature = tf.function(
            lambda ids, tower=tower: {"embedding": tower(ids)},
            input_signature=[tf.TensorSpec([None], tf.string, "ids")],
        )
        tf.saved_model.save(tower, tmp_path / side, {"embed": signature})
    teacher = TowersTeacher(
        load_model_file(tmp_path / "user", "embed"),
        load_model_file(tmp_path / "film", "embed"),
        "user_id",
        "movie_title",
    )
    batch = next(iter(dataset))
    wanted = tf.matmul(
        made.user_model(batch["user_id"]),
        made.movie_model(batch["movie_title"]),
        transpose_b=True,
    )
    np.testing.assert_allclose(
        teacher.outputs(batch)["task"].scores, wanted, atol=1e-6
    )
    losses = [
        SoftTargets(2.0),
        DistillationTerm(Hint(), TaskEmbeddings("candidate")),
    ]
    student = models["basic_retrieval"](3)
    history = fitted(teacher, student, losses, dataset)
    assert history["hint"][-1] < history["hint"][0]


def test_a_litert_file_teaches(tmp_path, models):
    network = tf.keras.Sequential(
        [tf.keras.Input((3,)), tf.keras.layers.Dense(1)]
    )
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    path = tmp_path / "teacher.tflite"
    path.write_bytes(converter.convert())
    teacher = PredictionTeacher(load_model_file(path), inputs="vector")
    vectors = np.float32(np.random.default_rng(0).normal(size=(1, 3)))
    found = teacher.outputs({"vector": tf.constant(vectors)})["task"]
    np.testing.assert_allclose(found.logits, network(vectors), rtol=1e-5)


@pytest.fixture
def scores(features):
    """Scores of every third pair, of another program."""
    rng = np.random.default_rng(5)
    pairs = [(u, f) for u in USERS for f in FILMS][::3]
    return pd.DataFrame(pairs, columns=["user_id", "movie_title"]).assign(
        score=rng.normal(size=len(pairs))
    )


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_file_of_scores_teaches(suffix, scores, models, dataset, tmp_path):
    path = tmp_path / f"scores.{suffix}"
    if suffix == "csv":
        scores.to_csv(path, index=False)
    else:
        scores.to_parquet(path)
    teacher = ScoreTableTeacher(path, "user_id", "movie_title")
    batch = next(iter(dataset))
    found = teacher.outputs(batch)["task"]
    by_pair = scores.set_index(["user_id", "movie_title"])["score"]
    for i, user in enumerate(batch["user_id"].numpy().astype(str)):
        for j, film in enumerate(batch["movie_title"].numpy().astype(str)):
            assert bool(found.known[i, j]) == ((user, film) in by_pair.index)
            if found.known[i, j]:
                assert np.isclose(found.scores[i, j], by_pair[user, film])
    student = models["basic_retrieval"](3)
    history = fitted(teacher, student, SoftTargets(1.0), dataset)
    assert history["soft_targets"][-1] < history["soft_targets"][0]


def test_a_large_table_is_looked_up_by_hash(scores, dataset, monkeypatch):
    from kd_tfrs.distillation.tfrs_models import score_table

    dense = ScoreTableTeacher(scores, "user_id", "movie_title")
    monkeypatch.setattr(score_table, "_DENSE_CELLS", 1)
    hashed = ScoreTableTeacher(scores, "user_id", "movie_title")
    batch = next(iter(dataset))
    one, other = (t.outputs(batch)["task"] for t in (dense, hashed))
    np.testing.assert_array_equal(one.known, other.known)
    np.testing.assert_array_equal(one.scores, other.scores)


def test_a_table_of_predictions_teaches_a_ranking_task(scores, models, dataset):
    teacher = ScoreTableTeacher(
        scores, "user_id", "movie_title", kind="ranking", predicts="values"
    )
    student = models["basic_ranking"](3)
    history = fitted(teacher, student, ScoreRegression(), dataset)
    assert history["score_regression"][-1] < history["score_regression"][0]


MISTAKES = {
    "a missing file": (
        lambda scores, path: ScoreTableTeacher(path / "no.csv", "a", "b"),
        ["`table` should be a DataFrame", "no.csv"],
    ),
    "a missing column": (
        lambda scores, path: ScoreTableTeacher(scores, "user", "movie_title"),
        ["without user", "user_id"],
    ),
    "a repeated pair": (
        lambda scores, path: ScoreTableTeacher(
            pd.concat([scores, scores[:2]]), "user_id", "movie_title"
        ),
        ["2 repeated pairs"],
    ),
    "a score of NaN": (
        lambda scores, path: ScoreTableTeacher(
            scores.assign(score=np.nan), "user_id", "movie_title"
        ),
        ["finite scores", "NaN"],
    ),
    "a model file that is none": (
        lambda scores, path: load_model_file(path / "teacher.keras"),
        ["should be a .keras", "teacher.keras"],
    ),
    "a path as a model": (
        lambda scores, path: PredictionTeacher("teacher.keras"),
        ["load_model_file"],
    ),
    "an unknown kind of prediction": (
        lambda scores, path: PredictionTeacher(print, predicts="clicks"),
        ["logits, probabilities, values"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_ends_in_one_line(name, scores, tmp_path):
    make, words = MISTAKES[name]
    with pytest.raises(UserError) as error:
        make(scores, tmp_path)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_other_ids_are_found_before_training(scores, models, dataset):
    others = scores.assign(user_id="x" + scores["user_id"])
    teacher = ScoreTableTeacher(others, "user_id", "movie_title")
    distiller = ModelDistiller(
        teacher, models["basic_retrieval"](3), SoftTargets()
    )
    distiller.compile(adagrad())
    with pytest.raises(UserError, match="Compare the ids"):
        distiller.fit(dataset)


def test_a_table_of_probabilities_is_compared_as_logits(dataset):
    batch = next(iter(dataset))
    teacher = PredictionTeacher(
        lambda x: tf.fill([tf.shape(x)[0]], 0.25), "probabilities", "user_id"
    )
    found = teacher.outputs(batch)["task"]
    assert found.is_binary
    np.testing.assert_allclose(found.logits, np.log(0.25 / 0.75), rtol=1e-5)
    assert BinarySoftTargets().uses_single_scores
