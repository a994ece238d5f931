"""The methods of a ranking run: every one makes terms that train."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.data.ranking.batches import RankingBatches
from kd_tfrs.data.schema import Encoding
from kd_tfrs.distillation import BinarySoftTargets, ScoreRegression
from kd_tfrs.distillation.ranking import (
    AdaptedSoftTargets,
    CachedTeacher,
    NetworkTeacher,
    RankingDistiller,
    RankingEnsemble,
    with_auxiliary_head,
)
from kd_tfrs.errors import UserError
from kd_tfrs.models import FeatureSet
from kd_tfrs.models.features import Feature
from kd_tfrs.models.ranking import (
    RankerConfig,
    RankingModel,
    RankingTask,
    build_ranker,
)
from kd_tfrs.workflow.ranking.methods import (
    RANKING_METHODS,
    RankingSetting,
    build_ranking_terms,
    kept_outputs,
    parse_ranking_method,
)
from kd_tfrs.workflow.ranking.options import RankingDistillationOptions

FEATURES = FeatureSet(
    (
        Feature("user_id", Encoding.ID, 5, 0, None),
        Feature("item_id", Encoding.ID, 7, 0, None),
    )
)
TASKS = (
    RankingTask("liked", initial_logit=-1.0),
    RankingTask("rating", "rating", initial_logit=3.5),
)
OPTIONS = RankingDistillationOptions(temperature=2.0)


def network(architecture, tasks=TASKS):
    config = RankerConfig(architecture, embedding_dim=2, hidden_units=(3,))
    return build_ranker(FEATURES, config, tasks)


@pytest.fixture(scope="module")
def teacher():
    return RankingEnsemble(
        [NetworkTeacher(network("dcn")), NetworkTeacher(network("deepfm"))]
    )


@pytest.fixture(scope="module")
def batches():
    rng = np.random.default_rng(0)
    return RankingBatches(
        {
            "user_id": rng.integers(0, 5, 12).astype(np.int32),
            "item_id": rng.integers(0, 7, 12).astype(np.int32),
        },
        {"liked": rng.integers(0, 2, 12), "rating": rng.integers(1, 6, 12)},
        batch_size=12,
        extras={"session": np.arange(12, dtype=np.int32) // 4},
    )


def setting(teacher, tasks=TASKS, **options):
    return RankingSetting(
        dataclasses.replace(OPTIONS, **options),
        100,
        tasks,
        teacher,
        ("hidden_0",),
    )


def test_every_method_trains_and_all_of_them_do_from_a_cache(teacher, batches):
    names = list(RANKING_METHODS)
    cached = CachedTeacher.of(
        teacher,
        batches,
        kept_outputs(names, setting(teacher)),
        dtype="float16",
        progress=False,
    )
    assert sorted(cached.widths) == [
        "logits_liked", "logits_rating",
        "teacher_0_hidden_0", "teacher_0_interaction",
    ]  # fmt: skip
    both = with_auxiliary_head(network("dnn"), TASKS)
    student = RankingModel(both, TASKS)
    logs = []
    for who in (teacher, cached):
        terms, weights = build_ranking_terms(names, setting(who))
        distiller = RankingDistiller(who, student, terms, weights)
        distiller.compile(
            tf.keras.optimizers.legacy.SGD(0.01), run_eagerly=True
        )
        logs.append(distiller.test_step(next(iter(batches.in_order()))))
    for name, value in logs[0].items():
        assert np.isfinite(value)
        if "hint" not in name:  # Whose projections start anew.
            # float16 has three digits: 2e-3 of a logit of 3.5.
            np.testing.assert_allclose(
                value, logs[1][name], rtol=2e-2, atol=3e-4
            )
    logs = distiller.train_step(next(iter(batches.in_order())))
    assert all(np.isfinite(x) for x in logs.values())


def test_a_methods_terms_share_its_weight(teacher):
    terms, weights = build_ranking_terms(
        ["binary_soft_targets:0.8", "hint:0.1"], setting(teacher)
    )
    assert weights == [0.4, 0.4, 0.1]
    assert isinstance(terms[0].loss, BinarySoftTargets)
    assert terms[0].loss.temperature == 2.0
    # A rating has no sigmoid.
    assert isinstance(terms[1].loss, ScoreRegression)
    assert terms[2].candidates.teacher_output == "teacher_0_hidden_0"


def test_options_and_tasks_are_heard(teacher):
    annealed = setting(teacher, final_temperature=1.0)
    terms, _ = build_ranking_terms(["auxiliary_head"], annealed)
    assert float(terms[0].loss.temperature(100)) == 1.0
    assert terms[0].candidates.auxiliary
    offset = dataclasses.replace(setting(teacher), teacher_offset=-2.0)
    terms, _ = build_ranking_terms(["score_regression"], offset)
    assert [term.candidates.offset for term in terms] == [-2.0, 0.0]
    # Only the liked have odds; the scaling starts from the ratings' mean.
    (term,), _ = build_ranking_terms(["cross_task"], setting(teacher))
    assert (term.candidates.task, term.candidates.teacher_task) == (
        "liked",
        "rating",
    )
    assert term.loss.initial_offset == -4.5
    (term,), _ = build_ranking_terms(
        ["rkd_angle"], setting(teacher, num_rows=5)
    )
    assert term.candidates.num_rows == 5


def test_what_a_method_needs():
    needs = {
        name: (method.sessions, method.auxiliary)
        for name, method in RANKING_METHODS.items()
    }
    assert {name for name, (lists, _) in needs.items() if lists} == {
        "session_list",
        "session_soft_targets",
    }
    assert [name for name, (_, head) in needs.items() if head] == [
        "auxiliary_head",
        "student_adapter",
    ]


def test_the_student_adapter_is_of_binary_tasks(teacher):
    (liked, rating), _ = build_ranking_terms(
        ["student_adapter"], setting(teacher)
    )
    assert isinstance(liked.loss, AdaptedSoftTargets)
    assert liked.loss.temperature == 2.0
    assert isinstance(rating.loss, ScoreRegression)
    assert [t.candidates.student_output for t in (liked, rating)] == [
        "logits_liked_teacher",
        "logits_rating_teacher",
    ]
    with pytest.raises(UserError, match="auxiliary_head"):
        build_ranking_terms(["student_adapter"], setting(teacher, TASKS[1:]))


def test_every_method_is_described():
    for name, method in RANKING_METHODS.items():
        assert method.help, name
        assert method.source, name
        assert method.use, name
        for option in method.tunes:
            assert hasattr(OPTIONS, option)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("binary_soft_target", "binary_soft_targets"),
        ("zzz", "binary_soft_targets or hint"),
        ("hint:0", "positive"),
        ("hint@dcn:0.5", "teacher_networks"),
    ],
)
def test_what_is_written_wrongly_is_told(text, message):
    with pytest.raises(UserError, match=message):
        parse_ranking_method(text)


def test_one_task_of_several_may_be_distilled(teacher):
    both, weights = build_ranking_terms(
        ["binary_soft_targets"], setting(teacher)
    )
    one, weight = build_ranking_terms(
        ["binary_soft_targets@rating:0.6"], setting(teacher)
    )
    assert [term.candidates.task for term in both] == ["liked", "rating"]
    assert [term.candidates.task for term in one] == ["rating"]
    assert (weights, weight) == ([0.5, 0.5], [0.6])
    crossed, _ = build_ranking_terms(["cross_task@liked"], setting(teacher))
    assert [term.candidates.teacher_task for term in crossed] == ["rating"]
    with pytest.raises(UserError, match=r"liked, rating.*teacher_networks"):
        build_ranking_terms(["binary_soft_targets@dcn"], setting(teacher))


def test_across_tasks_there_have_to_be_two(teacher):
    with pytest.raises(UserError, match="cross_task"):
        build_ranking_terms(["cross_task"], setting(teacher, TASKS[:1]))
