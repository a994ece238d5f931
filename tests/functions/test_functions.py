"""The functions of a Python program, for both tasks."""

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import kd_tfrs as kd
from kd_tfrs.compression import sparsity
from kd_tfrs.testing.ranking import tiny_ranking
from kd_tfrs.testing.retrieval import tiny_interactions
from kd_tfrs.workflow.ranking.prepare import prepare_examples

FEW = {"epochs": 1, "progress": False}


@pytest.fixture(scope="module")
def films():
    return kd.split(tiny_interactions())


@pytest.fixture(scope="module")
def ratings():
    return prepare_examples(tiny_ranking().examples)


@pytest.fixture(scope="module")
def trained(films):
    tf.keras.utils.set_random_seed(0)
    model = kd.build_model(films, embedding_dim=4, learning_rate=0.05)
    kd.fit(model, films, **FEW)
    return model


@pytest.fixture(scope="module")
def ranker(ratings):
    tf.keras.utils.set_random_seed(0)
    model = kd.build_model(ratings, embedding_dim=2, hidden_units=[4])
    kd.fit(model, ratings, **FEW)
    return model


def test_split_prepares_either_task():
    interactions = kd.load("synthetic", num_events=1_000)
    found = kd.split(interactions, "ratio", seed=3)
    again = kd.split(interactions, "ratio", seed=3)
    assert found.split.test.equals(again.split.test)
    ranking = kd.split(interactions, "time", task="ranking", tasks=["rating"])
    assert [task.name for task in ranking.tasks] == ["rating"]
    assert kd.split(interactions, task="ranking").task.name == "liked"


def test_build_model_takes_the_options_of_the_command_line(films, ratings):
    model = kd.build_model(films, embedding_dim=3, softmax_temperature=0.5)
    assert model.query_tower.output["embedding"].shape[-1] == 3
    assert model.temperature == 0.5
    ranker = kd.build_model(ratings, network="dcn", learning_rate=0.25)
    assert float(ranker.optimizer.learning_rate) == 0.25


def test_evaluate_measures_models_and_exports(films, trained, tmp_path):
    expected = kd.evaluate(trained, films).metrics
    teacher = kd.TwoTowerTeacher(
        trained.query_tower,
        trained.candidate_tower,
        films.encoded_for(trained).query_tables,
        films.encoded_for(trained).candidate_tables,
    )
    distiller = kd.Distiller(teacher, trained, kd.SoftTargets())
    version = kd.export(trained, films, tmp_path / "films")
    for model in (teacher, distiller, version):
        found = kd.evaluate(model, films).metrics
        assert found["ndcg@10"] == pytest.approx(expected["ndcg@10"])


def test_recommend_is_the_same_of_a_model_and_its_export(
    films, trained, tmp_path
):
    version = kd.export(trained, films, tmp_path / "films")
    user = films.catalogue.user_ids[3]
    ours = kd.recommend(trained, user, 4, data=films, exclude_seen=False)
    served = kd.recommend(version, user, 4)
    pd.testing.assert_frame_equal(ours, served, check_exact=False, rtol=1e-5)
    assert list(served) == ["query", "rank", "item", "score", "title"]
    # Seen items are left out of a model in memory.
    train = films.split.train
    seen = set(train[train["user_id"] == user]["item_id"])
    left = kd.recommend(trained, user, 20, data=films)
    assert not seen & set(left["item"])
    assert seen & set(kd.recommend(version, user, 20)["item"])


def test_a_ranker_ranks_candidates_alike_in_every_form(
    ratings, ranker, tmp_path
):
    version = kd.export(ranker, ratings, tmp_path / "ranker")
    items = ratings.split.interactions.items.iloc[:5, 0].tolist()
    user = ratings.split.test.groups[0]
    ours = kd.recommend(ranker, user, 3, data=ratings, candidates=items)
    served = kd.recommend(version, user, 3, candidates=items)
    pd.testing.assert_frame_equal(ours, served, check_exact=False, rtol=1e-4)
    label = ratings.task.name
    found = kd.evaluate(version, ratings, label=label).metrics
    expected = kd.evaluate(ranker, ratings).metrics
    name = next(iter(expected))
    assert found[name] == pytest.approx(expected[name], abs=1e-6)


@pytest.mark.parametrize("task", ["films", "ratings"])
def test_prune_trains_a_copy_with_the_teacher_and_leaves_it_sparse(
    task, request, tmp_path
):
    data = request.getfixturevalue(task)
    model = request.getfixturevalue("trained" if task == "films" else "ranker")
    if task == "films":
        teacher = kd.TwoTowerTeacher(
            model.query_tower,
            model.candidate_tower,
            data.encoded_for(model).query_tables,
            data.encoded_for(model).candidate_tables,
        )
        loss = kd.SoftTargets()
    else:
        teacher, loss = kd.NetworkTeacher(model), None
        loss = [
            kd.DistillationTerm(kd.ScoreRegression(), term)
            for term in _logits(model)
        ]
    distiller = kd.Distiller(teacher, model, loss)
    before = [w.copy() for w in model.get_weights()]
    pruned = kd.prune(distiller, data, sparsity=0.5, **FEW)
    for network in pruned.networks:
        assert sparsity(network) == pytest.approx(0.5, abs=0.1)
    for one, same in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, same)
    small = kd.quantize(pruned)
    assert small.storage == kd.Storage(int8=True, sparse=True)
    version = kd.export(small, data, tmp_path / task)
    found = kd.evaluate(version, data).metrics
    expected = kd.evaluate(small, data).metrics
    name = next(iter(expected))
    assert found[name] == pytest.approx(expected[name], abs=1e-6)


def _logits(model):
    from kd_tfrs.distillation.ranking import TaskLogits

    return [TaskLogits(task.name) for task in model.tasks]


def test_pruning_refuses_what_tfmot_cannot_wrap(films):
    class Tower(tf.keras.Model):
        def call(self, inputs):
            return inputs

    model = kd.build_model(films, embedding_dim=2)
    model.query_tower = Tower()
    with pytest.raises(kd.UserError, match=r"should be Functional.*Tower"):
        kd.prune(model, films, **FEW)


class TestDistill:
    @pytest.fixture(scope="class")
    def tables(self, films):
        random = np.random.default_rng(0)
        counts = (films.catalogue.num_users + 1, films.catalogue.num_items)
        return [random.normal(size=(n, 6)).astype(np.float32) for n in counts]

    @pytest.fixture(scope="class")
    def result(self, films, tables, tmp_path_factory):
        return kd.distill(
            films,
            teacher=tables,
            student_dim=3,
            run_dir=tmp_path_factory.mktemp("run") / "films",
            student_epochs=1,
            distilled_epochs=2,
            pruning_epochs=1,
            pruning_sparsities=[0.5],
            eval_latency_seconds=0.0,
            eval_baselines=False,
            say=lambda line: None,
        )

    def test_the_teacher_is_what_was_given(self, result, films, tables):
        users = films.catalogue.user_ids
        best = (tables[0][1:] @ tables[1].T).argmax(axis=1)
        ids = kd.recommend(
            result.functions.given_teachers(tables)["teacher"],
            users,
            1,
            data=films,
            exclude_seen=False,
        )
        np.testing.assert_array_equal(
            ids["item"], films.catalogue.item_ids[best]
        )
        expected = kd.evaluate(kd.EmbeddingTeacher(*tables), films).metrics[
            "ndcg@10"
        ]
        assert result.table.loc["teacher", "ndcg@10"] == pytest.approx(expected)

    def test_every_stage_is_in_the_table(self, result, films):
        assert list(result.table.index) == [
            *("teacher", "student", "distilled"),
            *("int8", "pruned", "pruned_int8", "saved_model"),
        ]
        found = kd.evaluate(result.student, films).metrics["ndcg@10"]
        assert result.table.loc["distilled", "ndcg@10"] == pytest.approx(found)

    def test_a_form_without_weights_names_its_source(self, result):
        with pytest.raises(kd.UserError, match=r"stores those of 'distilled'"):
            result.model("int8")

    def test_the_export_and_the_plot_are_copied(self, result, films, tmp_path):
        for number in ("1", "2"):
            version = result.export(tmp_path / "films")
            assert version == tmp_path / "films" / number
        found = kd.evaluate(version, films).metrics["ndcg@10"]
        assert result.table.loc["saved_model", "ndcg@10"] == found
        png = result.plot(path=tmp_path / "stages.png")
        assert png.read_bytes()[:4] == b"\x89PNG"

    def test_the_same_call_reads_what_is_there(self, result, films, tables):
        def again(teacher, data=films):
            return kd.distill(
                data,
                teacher=teacher,
                run_dir=result.run_dir,
                say=lambda line: None,
                **{
                    name: value
                    for name, value in result.config.flat().items()
                    if name
                    in (
                        "student_embedding_dim",
                        "student_epochs",
                        "distilled_epochs",
                        "pruning_epochs",
                        "pruning_sparsities",
                        "eval_latency_seconds",
                        "eval_baselines",
                    )
                },
            )

        pd.testing.assert_frame_equal(again(tables).table, result.table)
        with pytest.raises(kd.UserError, match="has changed since"):
            again([-tables[0], tables[1]])
        other = kd.split(tiny_interactions(), "ratio")
        with pytest.raises(kd.UserError, match="has changed since"):
            again(tables, other)


def test_distill_takes_a_student_and_a_keras_ranker(ratings, ranker):
    names = [task.output for task in ratings.tasks]
    raw = tf.keras.Input((), dtype=tf.int32, name="item_id")
    x = tf.keras.layers.Embedding(99, 2)(raw)
    own = tf.keras.Model(
        raw, {name: tf.keras.layers.Dense(1)(x) for name in names}
    )
    student = kd.build_model(ratings, embedding_dim=1, hidden_units=[2])
    before = [w.copy() for w in student.get_weights()]
    result = kd.distill(
        ratings,
        teacher=[ranker, own],
        student=student,
        stages=["student", "distilled"],
        student_epochs=1,
        distilled_epochs=1,
        eval_latency_seconds=0.0,
        eval_bootstrap=0,
        say=lambda line: None,
    )
    assert list(result.table.index) == [
        *("teacher_1", "teacher_2", "teacher", "student", "distilled"),
    ]
    shapes = [w.shape for w in student.get_weights()]
    assert [w.shape for w in result.student.get_weights()] == shapes
    for one, same in zip(before, student.get_weights(), strict=True):
        np.testing.assert_array_equal(one, same)
    with pytest.raises(kd.UserError, match="should have saved_model"):
        result.export("anywhere")


def test_build_teacher_wraps_models_of_either_task(
    films, ratings, trained, ranker
):
    teacher = kd.build_teacher(trained, films)
    expected = kd.evaluate(trained, films).metrics["ndcg@10"]
    assert kd.evaluate(teacher, films).metrics["ndcg@10"] == expected
    mean = kd.build_teacher([ranker, ranker], ratings)
    assert kd.evaluate(mean, ratings).metrics == pytest.approx(
        kd.evaluate(ranker, ratings).metrics, nan_ok=True
    )


def test_models_of_other_data_are_refused(films, trained, ratings):
    others = kd.split(tiny_interactions(num_users=9))
    for data, model in (
        (others, trained),
        (films, kd.build_model(others, embedding_dim=4)),
    ):
        for call in (
            lambda d=data, m=model: kd.evaluate(m, d),
            lambda d=data, m=model: kd.fit(m, d, epochs=1),
            lambda d=data, m=model: kd.distill(d, teacher=m),
        ):
            with pytest.raises(kd.UserError, match="of other data"):
                call()
    raw = tf.keras.Input((), dtype=tf.int32, name="item_id")
    x = tf.keras.layers.Embedding(2, 2)(raw)
    names = [task.output for task in ratings.tasks]
    own = {name: tf.keras.layers.Dense(1)(x) for name in names}
    with pytest.raises(kd.UserError, match="of other data"):
        kd.evaluate(tf.keras.Model(raw, own), ratings)


def test_probabilities_are_no_logits(ratings):
    raw = tf.keras.Input((), dtype=tf.int32, name="item_id")
    x = tf.keras.layers.Embedding(99, 2)(raw)
    names = [task.output for task in ratings.tasks]
    own = {name: tf.keras.layers.Dense(1, "sigmoid")(x) for name in names}
    with pytest.raises(kd.UserError, match="should give logits"):
        kd.build_teacher(tf.keras.Model(raw, own), ratings)


def test_an_item_table_of_other_ids_is_refused():
    source = tiny_interactions()
    items = source.items.assign(item_id=np.arange(len(source.items)))
    with pytest.raises(kd.UserError, match="and none in both"):
        kd.load(source.events, items=items)


def test_mistakes_end_in_one_line_each(films, ratings, trained, ranker):
    tables = [np.zeros((13, 4)), np.zeros((20, 4))]
    mistakes = {
        "should come from kd.split": lambda: kd.fit(trained, None, epochs=1),
        "should be retrieval or ranking": lambda: kd.split(
            tiny_interactions(), task="regression"
        ),
        "`tasks` should be left out": lambda: kd.split(
            tiny_interactions(), tasks=["liked"]
        ),
        "Did you mean embedding_dim": lambda: kd.build_model(
            films, embeding_dim=4
        ),
        "should be compiled": lambda: kd.fit(
            trained.with_networks(*trained.networks), films, epochs=1
        ),
        "Received: RankingModel": lambda: kd.evaluate(ranker, films),
        "Received: int": lambda: kd.evaluate(3, films),
        "`label` should be left out": lambda: kd.evaluate(
            trained, films, label="liked"
        ),
        "`label` should be one of": lambda: kd.evaluate(
            ranker, ratings, label="nope"
        ),
        "`bits` should be 8": lambda: kd.quantize(trained, bits=4),
        "should be a folder": lambda: kd.export(trained, films, "a.tflite"),
        "`data` should be given": lambda: kd.recommend(trained, "u01"),
        "`candidates` should be": lambda: kd.recommend(
            ranker, "u01", data=ratings
        ),
        "holds no saved_model.pb": lambda: kd.recommend("nowhere", 1),
        "should have a row for each of the 13": lambda: kd.distill(
            films, teacher=[tables[0][1:], tables[1]]
        ),
        "should have one width": lambda: kd.distill(
            films, teacher=[tables[0], tables[1][:, 1:]]
        ),
        "should have finite values": lambda: kd.distill(
            films, teacher=[tables[0] * np.nan, tables[1]]
        ),
        "`student_dim` should be left out": lambda: kd.distill(
            films, teacher=trained, student=trained, student_dim=3
        ),
        "`student_embedding_dim` should be left": lambda: kd.distill(
            films, trained, student_dim=3, student_embedding_dim=4
        ),
        "`teacher_epochs` should be left out": lambda: kd.distill(
            films, trained, teacher_epochs=4
        ),
        "should have at least one model": lambda: kd.distill(ratings, []),
        "`stages` should be a list of": lambda: kd.distill(
            films, trained, stages=["destilled"]
        ),
        "`--distillation_losses` should be a list": lambda: kd.distill(
            films, trained, distillation_losses="rrd"
        ),
        "`hidden_units` should be a list of int": lambda: kd.build_model(
            films, hidden_units=16
        ),
        "`embedding_dim` should be of type int": lambda: kd.build_model(
            films, embedding_dim=8.5
        ),
        "`epochs` should be a whole number": lambda: kd.fit(
            trained, films, epochs=0
        ),
        "`sparsity` should lie in": lambda: kd.prune(
            trained, films, sparsity=2
        ),
        "should be pruned before": lambda: kd.prune(
            kd.quantize(trained), films
        ),
        "Write kd.split(kd.load(...))": lambda: kd.split("synthetic"),
        "should be the name of a method": lambda: kd.split(
            tiny_interactions(), 0.8
        ),
        "`candidates` should be text ids": lambda: kd.recommend(
            ranker, "u01", data=ratings, candidates=[1]
        ),
        "`query` should be text ids": lambda: kd.recommend(
            ranker, 1, data=ratings, candidates=["i1"]
        ),
        "raw id of one user": lambda: kd.recommend(
            ranker, ["u01"], data=ratings, candidates=[1]
        ),
        "should be a path": lambda: kd.export(trained, films, None),
        "Did you mean distilled_epochs": lambda: kd.distill(
            films, teacher=trained, distiled_epochs=3
        ),
        "`teacher` should be a RankingModel": lambda: kd.distill(
            ratings, teacher=3
        ),
        "`teacher` should be a RetrievalModel": lambda: kd.distill(
            films, teacher=ranker
        ),
    }
    for words, mistake in mistakes.items():
        with pytest.raises(kd.UserError) as error:
            mistake()
        assert words in str(error.value)
        assert "\n" not in str(error.value)
