"""Mistakes of a Python caller: one line each, at the line that made it.

Every case ends in the line of the mistake, marked by `# here`. The error has
to come from that line, name what was received and say what helps.
"""

import linecache
import re

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs

import kd_tfrs as kd
from kd_tfrs.distillation.losses import RelaxedRanking
from kd_tfrs.distillation.ranking import NetworkTeacher, SessionLists
from kd_tfrs.models.ranking import RankingTask
from kd_tfrs.testing.ranking import tiny_ranking
from kd_tfrs.testing.retrieval import tiny_world

layers = tf.keras.layers
Adagrad = tf.keras.optimizers.legacy.Adagrad
USERS, FILMS = ["a", "b", "c"], ["x", "y", "z", "w"]
FEATURES = {
    "user": np.array(["a", "b", "c", "a"]),
    "film": np.array(["x", "y", "z", "w"]),
    "liked": np.float32([1, 0, 1, 0]),
}


class Towers(tfrs.Model):
    """Basic retrieval as the TFRS documentation writes it."""

    def __init__(self, dim):
        super().__init__()
        self.user_model = tower(USERS, dim)
        self.film_model = tower(FILMS, dim)
        self.task = tfrs.tasks.Retrieval()

    def compute_loss(self, features, training=False):
        return self.task(
            self.user_model(features["user"]), self.film_model(features["film"])
        )


def tower(ids, dim):
    return tf.keras.Sequential(
        [layers.StringLookup(vocabulary=ids), layers.Embedding(9, dim)]
    )


class Setting:
    """Everything that fits; each case spoils one thing."""

    def __init__(self):
        self.world = tiny_world(ids_only=True)
        catalogue = self.world.catalogue
        rng = np.random.default_rng(0)
        sizes = (catalogue.num_users + 1, catalogue.num_items)
        self.users, self.items = (
            rng.normal(size=(rows, 4)).astype(np.float32) for rows in sizes
        )
        self.teacher = kd.EmbeddingTeacher(self.users, self.items)
        self.student = self.world.model(3)
        self.loss = kd.SoftTargets(2.0)
        self.batches = self.world.batches().dataset(1)
        self.data = tf.data.Dataset.from_tensor_slices(FEATURES).batch(4)
        self.big, self.small = self.towers(4), self.towers(2)
        self.scores = pd.DataFrame(
            {"user": USERS, "film": FILMS[:3], "score": [0.1, 0.2, 0.3]}
        )
        ranking = tiny_ranking()
        self.big_ranker, self.ranker = (
            ranking.model("dnn", tasks=(RankingTask("liked"),))
            for _ in range(2)
        )

    def towers(self, dim):
        model = Towers(dim)
        model.compute_loss(next(iter(self.data)))
        return model

    def distiller(self, teacher=None, losses=None, compiled=True):
        teacher = teacher or self.teacher
        distiller = kd.Distiller(teacher, self.student, losses or self.loss)
        if compiled:
            distiller.compile(Adagrad(0.1))
        return distiller

    def model_distiller(self, teacher=None, losses=None):
        distiller = kd.Distiller(
            teacher or self.big, self.small, losses or self.loss
        )
        distiller.compile(Adagrad(0.1))
        return distiller


@pytest.fixture(scope="module")
def setting():
    return Setting()


CASES = {}


def mistake(*words):
    """Notes a case, with words of its message."""

    def note(case):
        CASES[case.__name__] = (case, words)
        return case

    return note


# Teachers of tables.


@mistake("exchanged", "13 query rows")
def swapped_tables(s):
    distiller = s.distiller(kd.EmbeddingTeacher(s.items, s.users))
    distiller.fit(s.batches)  # here


@mistake("row 0 is the unknown user", "Received: 12 and 20")
def no_row_for_the_unknown_user(s):
    distiller = s.distiller(kd.EmbeddingTeacher(s.users[1:], s.items))
    distiller.fit(s.batches)  # here


@mistake("one width", "4 and 3")
def other_widths(s):
    kd.EmbeddingTeacher(s.users, s.items[:, :3])  # here


@mistake("`query_embeddings`", "finite", "row 0 of 13")
def a_table_of_nan(s):
    kd.EmbeddingTeacher(s.users * np.nan, s.items)  # here


@mistake("matrix of floats", "int64", "np.float32")
def a_table_of_integers(s):
    kd.EmbeddingTeacher(s.users.astype(int), s.items)  # here


@mistake("matrix of floats", "(13,)")
def a_column_instead_of_a_table(s):
    kd.EmbeddingTeacher(s.users[:, 0], s.items)  # here


@mistake("`seen`", "13", "11 rows", "unknown user")
def a_seen_mask_of_other_rows(s):
    seen = s.world.seen()[2:]
    kd.EmbeddingTeacher(s.users, s.items, seen=seen)  # here


@mistake("`seen`", "row 99")
def a_seen_mask_of_other_items(s):
    seen = tf.ragged.constant([[99]] + [[]] * 12, tf.int32)
    kd.EmbeddingTeacher(s.users, s.items, seen=seen)  # here


@mistake("`temperature`", "-1")
def a_teacher_with_a_negative_temperature(s):
    kd.EmbeddingTeacher(s.users, s.items, temperature=-1)  # here


@mistake("float16 or float32", "float64", "astype")
def a_score_matrix_of_another_type(s):
    scores = np.zeros((13, 20))
    kd.ScoreTeacher(scores)  # here


@mistake("`scores`", "row 3 of 13")
def a_score_matrix_with_infinity(s):
    scores = np.zeros((13, 20), np.float32)
    scores[3, 4] = np.inf
    kd.ScoreTeacher(scores)  # here


@mistake("`lists`", "from 0 to 19", "rows from 20 to 20")
def lists_of_items_that_do_not_exist(s):
    lists = np.full((13, 2), 20), np.zeros((13, 2), np.float32)
    kd.ListTeacher(lists, 20)  # here


@mistake("0 %", "'u00'", "1000")
def other_ids(s):
    ids = np.arange(1000, 1012)
    arrays = (ids, s.users[1:], s.world.catalogue.item_ids, s.items)
    kd.EmbeddingTeacher.of_ids(s.world.catalogue, *arrays)  # here


@mistake("unique", "1 repeated")
def repeated_ids(s):
    ids = ["u00", *s.world.catalogue.user_ids[:-1]]
    arrays = (ids, s.users[1:], s.world.catalogue.item_ids, s.items)
    kd.EmbeddingTeacher.of_ids(s.world.catalogue, *arrays)  # here


@mistake("`query_ids`", "11 ids and 12 rows")
def fewer_ids_than_rows(s):
    ids = s.world.catalogue.user_ids[1:]
    arrays = (ids, s.users[1:], s.world.catalogue.item_ids, s.items)
    kd.EmbeddingTeacher.of_ids(s.world.catalogue, *arrays)  # here


# Live teachers.


@mistake("one width", "4 and 2")
def towers_of_other_widths(s):
    arrays = s.users, s.items[:, :2]
    kd.TwoTowerTeacher(tf.identity, tf.identity, *arrays)  # here


@mistake("teacher's query model", "'user_id'")
def a_tower_of_other_inputs(s):
    def user(x):
        return x["user_id"]

    arrays = {"user": s.users}, s.items
    kd.TwoTowerTeacher(user, tf.identity, *arrays)  # here


@mistake("teacher's `score`", "'u'")
def a_model_of_pairs_of_other_inputs(s):
    def score(x):
        return x["u"]

    kd.PairTeacher(score, {"user": s.users}, {"item": s.items})  # here


@mistake("`teacher`", "str", "load_model_file")
def a_path_as_a_teacher(s):
    kd.Distiller("teacher.keras", s.student, s.loss)  # here


@mistake("`teacher`", "RetrievalModel", "TwoTowerTeacher")
def a_model_as_a_teacher_over_rows(s):
    kd.Distiller(s.world.model(8), s.student, s.loss)  # here


@mistake("`model`", "'teacher.keras'", "load_model_file")
def a_path_in_a_teacher(s):
    kd.PredictionTeacher("teacher.keras")  # here


@mistake("model file", "no.keras")
def a_file_that_is_not_there(s):
    kd.load_model_file("no.keras")  # here


@mistake("should be trained", "without weights")
def an_untrained_teacher(s):
    kd.Distiller(Towers(4), s.small, s.loss)  # here


@mistake("finite weights", "embeddings")
def a_teacher_of_nan(s):
    teacher = s.towers(4)
    teacher.set_weights([w * np.nan for w in teacher.get_weights()])
    kd.Distiller(teacher, s.small, s.loss)  # here


# Tables of scores.


@mistake("without score", "`columns`")
def a_table_with_other_columns(s):
    table = s.scores.rename(columns={"score": "value"})
    kd.ScoreTableTeacher(table, "user", "film")  # here


@mistake("finite scores", "1 of 3 rows")
def a_table_with_nan(s):
    table = s.scores.assign(score=[0.1, np.nan, 0.2])
    kd.ScoreTableTeacher(table, "user", "film")  # here


@mistake("`table`", "scores.parquet")
def a_table_that_is_not_there(s):
    kd.ScoreTableTeacher("scores.parquet", "user", "film")  # here


@mistake("0 % of user", "'other'", "'a'")
def a_table_of_another_vocabulary(s):
    table = s.scores.assign(user=["other", "ids", "here"])
    teacher = kd.ScoreTableTeacher(table, "user", "film")
    distiller = s.model_distiller(teacher)
    distiller.fit(s.data)  # here


@mistake("`kind`", "'score'")
def a_table_of_another_kind(s):
    kd.ScoreTableTeacher(s.scores, "user", "film", kind="score")  # here


# Losses and their weights.


@mistake("`temperature`", "-1")
def a_negative_temperature(s):
    kd.SoftTargets(temperature=-1)  # here


@mistake("`distillation_losses`", "str", "SoftTargets")
def the_name_of_a_loss(s):
    kd.Distiller(s.teacher, s.student, "kl_divergence")  # here


@mistake("`distillation_losses`", "KLDivergence", "SoftTargets")
def a_loss_of_keras(s):
    kd.Distiller(s.teacher, s.student, tf.keras.losses.KLDivergence())  # here


@mistake("`distillation_loss_weights`", "2")
def other_numbers_of_weights(s):
    kd.Distiller(s.teacher, s.student, s.loss, [0.5, 0.5])  # here


@mistake("`distillation_loss_weights`", "-1")
def a_negative_weight(s):
    kd.Distiller(s.teacher, s.student, s.loss, -1.0)  # here


@mistake("`k`", "500 of 20")
def lists_longer_than_the_catalogue(s):
    term = kd.DistillationTerm(s.loss, kd.TeacherTopK(500))
    kd.Distiller(s.teacher, s.student, term)  # here


@mistake("cache's 2", "`k` = 5")
def lists_longer_than_those_of_the_teacher(s):
    lists = np.zeros((13, 2), int), np.zeros((13, 2), np.float32)
    teacher = kd.ListTeacher(lists, 20, unlisted="lowest")
    term = kd.DistillationTerm(s.loss, kd.TeacherTopK(5))
    kd.Distiller(teacher, s.student, term)  # here


@mistake("RelaxedRanking", "lists", "TeacherTopK")
def a_loss_of_lists_without_lists(s):
    distiller = s.distiller(losses=RelaxedRanking())
    distiller.fit(s.batches)  # here


@mistake("task of retrieval", "BinarySoftTargets")
def the_loss_of_another_task(s):
    kd.Distiller(s.big_ranker, s.small, s.loss)  # here


@mistake("TaskEmbeddings")
def a_loss_of_embeddings_without_a_side(s):
    kd.Distiller(s.big, s.small, kd.Hint())  # here


@mistake("task of the student: task", "'rating'")
def a_task_that_does_not_exist(s):
    term = kd.DistillationTerm(s.loss, kd.TaskScores("rating"))
    kd.Distiller(s.big, s.small, term)  # here


@mistake("`k`", "9 of 4")
def more_candidates_than_there_are(s):
    towers = s.small.film_model, s.big.film_model
    kd.CatalogueScores(np.array(FILMS), *towers, k=9)  # here


@mistake("each of 4 candidates", "(3, 2)")
def embeddings_of_fewer_candidates(s):
    films = np.array(FILMS)
    kd.CatalogueScores(films, s.small.film_model, np.zeros((3, 2)))  # here


# Habits of Keras.


@mistake("`distillation_losses`", "SoftTargets(temperature=2.0)")
def no_loss_as_in_keras_io(s):
    kd.Distiller(student=s.student, teacher=s.teacher)  # here


@mistake("`alpha`", "student_loss_weight=alpha")
def alpha_in_the_constructor(s):
    kd.Distiller(s.teacher, s.student, s.loss, alpha=0.1)  # here


@mistake("`temperature`", "SoftTargets(temperature)")
def a_temperature_in_compile(s):
    distiller = s.distiller(compiled=False)
    distiller.compile(Adagrad(0.1), temperature=3)  # here


@mistake("no `loss`", "'mse'")
def a_loss_in_compile(s):
    distiller = s.distiller(compiled=False)
    distiller.compile(Adagrad(0.1), loss="mse")  # here


@mistake("compiled before `fit`")
def fit_before_compile(s):
    distiller = s.distiller(compiled=False)
    distiller.fit(s.batches)  # here


@mistake("save_weights_only=True")
def a_checkpoint_of_the_whole_distiller(s):
    distiller = s.distiller()
    keep = tf.keras.callbacks.ModelCheckpoint("distiller.keras")
    distiller.fit(s.batches, callbacks=[keep])  # here


@mistake("distiller.student.save(path)")
def a_saved_distiller(s):
    distiller = s.distiller()
    distiller.save("distiller.keras")  # here


@mistake("`student`", "NoneType")
def no_student(s):
    kd.Distiller(s.teacher, None, s.loss)  # here


@mistake("compiled with the loss", "from_logits=True")
def a_keras_student_without_a_loss(s):
    student = tf.keras.Sequential([layers.Dense(1)])
    kd.Distiller(s.big, student, kd.BinarySoftTargets())  # here


# Data.


@mistake("TeacherTopK", "join=distiller.join")
def batches_without_the_lists(s):
    term = kd.DistillationTerm(s.loss, kd.TeacherTopK(5))
    distiller = s.distiller(losses=term)
    distiller.fit(s.batches)  # here


@mistake("TeacherTopK", "join=distiller.join")
def later_batches_without_the_lists(s):
    term = kd.DistillationTerm(s.loss, kd.TeacherTopK(5))
    distiller = s.distiller(losses=term)
    distiller.evaluate(s.world.batches().dataset(1, join=distiller.join))
    distiller.fit(s.batches)  # here


@mistake("tf.data.Dataset", "ndarray", "from_tensor_slices")
def numpy_for_a_retrieval_model(s):
    distiller = s.distiller()
    distiller.fit(s.users)  # here


@mistake("RetrievalBatches", "film, liked, user")
def other_batches_for_a_retrieval_model(s):
    distiller = s.distiller()
    distiller.fit(s.data)  # here


@mistake("tf.data.Dataset", "dict", "from_tensor_slices")
def numpy_for_a_tfrs_model(s):
    distiller = s.model_distiller()
    distiller.fit(FEATURES)  # here


@mistake("single rows", "dataset.batch(1024)")
def a_dataset_without_batches(s):
    distiller = s.model_distiller()
    distiller.fit(s.data.unbatch())  # here


@mistake("student", "'film'")
def a_feature_that_is_missing(s):
    distiller = s.model_distiller()
    data = s.data.map(lambda x: {"user": x["user"]})
    distiller.fit(data)  # here


@mistake("student", "string", "types")
def numbers_for_ids_of_text(s):
    distiller = s.model_distiller()
    data = s.data.map(lambda x: x | {"user": tf.ones([4], tf.int64)})
    distiller.fit(data)  # here


@mistake("`teacher`", "EmbeddingTeacher", "NetworkTeacher")
def a_teacher_of_retrieval_for_a_ranker(s):
    kd.Distiller(s.teacher, s.ranker, kd.BinarySoftTargets())  # here


@mistake("SoftTargets", "one score a row", "BinarySoftTargets")
def a_loss_of_lists_for_a_ranker(s):
    teacher = NetworkTeacher(s.big_ranker)
    kd.Distiller(teacher, s.ranker, s.loss)  # here


@mistake("RankingBatches", "film, liked, user")
def other_batches_for_a_ranker(s):
    teacher = NetworkTeacher(s.big_ranker)
    distiller = kd.Distiller(teacher, s.ranker, kd.BinarySoftTargets())
    distiller.compile(Adagrad(0.1))
    distiller.fit(s.data)  # here


@mistake("SessionLists", "SoftTargets")
def a_selector_in_the_place_of_a_loss(s):
    teacher = NetworkTeacher(s.big_ranker)
    kd.Distiller(teacher, s.ranker, SessionLists("liked"))  # here


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_told_in_one_line_where_it_was_made(name, setting):
    case, words = CASES[name]
    with pytest.raises(kd.UserError) as error:
        case(setting)
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    # What was received, and behind it a sentence that says what helps.
    assert re.search(r"Received: .+\. [A-Z`].+\.$", message), message
    lines = [
        linecache.getline(__file__, entry.lineno + 1)
        for entry in error.traceback
        if str(entry.path) == __file__
    ]
    assert "# here" in lines[-1]


def test_there_are_thirty():
    assert len(CASES) >= 30
