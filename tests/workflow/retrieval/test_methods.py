"""From names on the command line to terms, and every method in one step."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation import (
    ScoreRegression,
    SoftLabelLikelihood,
    SoftTargets,
    TeacherHardLabel,
)
from kd_tfrs.distillation.retrieval import (
    AllCandidates,
    Distiller,
    EmbeddingTeacher,
    EnsembleTeacher,
    InBatch,
    RankSampled,
    Sampled,
    TeacherTopK,
)
from kd_tfrs.errors import UserError
from kd_tfrs.models import LazyAdam
from kd_tfrs.testing.retrieval import tiny_world
from kd_tfrs.workflow.retrieval.config import DistillationOptions
from kd_tfrs.workflow.retrieval.methods import (
    METHODS,
    Setting,
    build_terms,
    documented_terms,
    longest_list,
    parse_method,
)


@pytest.fixture(scope="module")
def world():
    return tiny_world(ids_only=True)


def setting_of(world, **options):
    return Setting(
        DistillationOptions(**options),
        100,
        world.user_rows,
        world.item_rows,
        world.catalogue.num_users + 1,
        world.catalogue.num_items,
        world.seen(),
    )


def test_preference_consistency_draws_five_of_the_hundred_best(world):
    many = dataclasses.replace(setting_of(world, num_queries=9), num_items=999)
    (term,), weights = build_terms(["pckd:0.3"], many)
    lists = term.candidates.candidates
    assert (lists.num_interesting, lists.k) == (5, 100)
    assert (lists.num_queries, lists.num_random) == (9, 9)
    assert weights == [0.3]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("soft_targets", ("soft_targets", "", 1.0)),
        ("soft_targets:0.8", ("soft_targets", "", 0.8)),
        ("rrd@ease:0.8", ("rrd", "ease", 0.8)),
        ("score_regression:1e-3", ("score_regression", "", 1e-3)),
    ],
)
def test_methods_are_read(text, found):
    assert parse_method(text, METHODS) == found


@pytest.mark.parametrize(
    "text",
    [
        "kl",
        "",
        "soft_targets:0",
        "soft_targets:-1",
        "soft_targets:loud",
        "soft_targets:nan",
        "soft_targets:inf",
        "soft_targets:1:2",
        "soft_targets@nobody",
        "soft_targets@:1",
    ],
)
def test_methods_that_cannot_be_read(text):
    with pytest.raises(UserError, match="--distillation_losses"):
        parse_method(text, METHODS)


def test_every_loss_gets_its_weight(world):
    names = (
        "soft_targets:0.5",
        "soft_label_likelihood",
        "teacher_hard_label:2",
        "score_regression:0.1",
    )
    terms, weights = build_terms(names, setting_of(world))
    assert [type(term.loss) for term in terms] == [
        SoftTargets,
        SoftLabelLikelihood,
        TeacherHardLabel,
        ScoreRegression,
    ]
    assert weights == [0.5, 1.0, 2.0, 0.1]
    assert len({term.candidates.name for term in terms}) == 1


def test_a_method_of_several_terms_shares_its_weight(world):
    terms, weights = build_terms(["hint:0.4"], setting_of(world))
    assert [term.candidates.side for term in terms] == ["query", "candidate"]
    assert weights == [0.2, 0.2]


@pytest.mark.parametrize(
    ("candidates", "kind"),
    [
        ("auto", TeacherTopK),
        ("top_k", TeacherTopK),
        ("ranked", RankSampled),
        ("in_batch", InBatch),
        ("sampled", Sampled),
        ("all", AllCandidates),
    ],
)
def test_candidates(world, candidates, kind):
    (term,), _ = build_terms(
        ["soft_targets"],
        setting_of(world, candidates=candidates, top_k=5, num_random=7),
    )
    assert isinstance(term.candidates, kind)


def test_lists_are_no_longer_than_the_catalogue(world):
    (term,), _ = build_terms(["soft_targets"], setting_of(world, top_k=200))
    assert term.candidates.k == world.catalogue.num_items


def test_sizes_are_the_methods_own_unless_they_are_asked_for(world):
    """As the table of methods says, whoever asks for the method."""

    def sizes(name, **options):
        (term,), _ = build_terms([name], setting_of(world, **options))
        return (
            term.candidates.k,
            term.candidates.num_random,
            term.candidates.num_queries,
        )

    most = world.catalogue.num_items
    assert sizes("soft_targets") == (most, 512, 256)
    assert sizes("list_mle", top_k=4) == (4, 0, 256)
    assert sizes("rd") == (10, 100, 256)
    assert sizes("cd", num_queries=7) == (most, 0, 7)
    assert sizes("rd", num_random=512) == (10, 512, 256)
    # Random candidates are those beyond the list.
    assert sizes("rrd") == (most // 2, 40, 256)
    assert sizes("rrd", top_k=5) == (5, 40, 256)
    assert sizes("easy_to_hard") == (most, 512, 256)


def test_the_defaults_of_the_authors():
    """Of their code, where the catalogue is large enough."""

    def numbers(sampler):
        return sampler.num_interesting, sampler.k, sampler.num_random

    (user,) = documented_terms("rrd")
    assert numbers(user.candidates) == (40, 500, 40)
    (item,) = documented_terms("rrd_item_side")
    assert numbers(item.candidates.candidates) == (20, 500, 20)
    user, item = documented_terms("rrd_both_sides")
    assert numbers(user.candidates) == (40, 500, 40)
    assert numbers(item.candidates.candidates) == (20, 500, 20)
    (pairs,) = documented_terms("unkd")
    assert pairs.loss.pairs_per_group == 8  # 30 of 4 groups
    for term in documented_terms("htd"):
        coldest = term.loss.temperature_at(term.loss.annealing_steps)
        assert float(term.loss.temperature_at(0)) == 1.0
        assert float(coldest) == pytest.approx(1e-10)


def test_the_item_side_has_half_the_weight_of_the_user_side(world):
    _, weights = build_terms(["rrd_both_sides:0.3"], setting_of(world))
    assert weights == pytest.approx([0.2, 0.1])


def test_caches_are_long_enough_for_every_method():
    options = DistillationOptions(losses=("rd:1", "rrd", "rce:0.3"))
    assert longest_list(options) == 500
    plain = DistillationOptions(losses=("soft_targets",))
    assert longest_list(plain) == 200
    assert longest_list(DistillationOptions(losses=("rd",), top_k=7)) == 7


def test_temperature_goes_its_way_in_a_line(world):
    setting = setting_of(world, temperature=4.0, final_temperature=1.0)
    (term,), _ = build_terms(["soft_targets"], setting)
    way = term.loss.temperature
    assert [float(way(step)) for step in (0, 50, 100, 500)] == pytest.approx(
        [4.0, 2.5, 1.0, 1.0]
    )


@pytest.fixture(scope="module")
def teachers(world):
    rng = np.random.default_rng(0)
    users, items = world.catalogue.num_users + 1, world.catalogue.num_items
    one, other = (
        EmbeddingTeacher(
            rng.normal(size=(users, 8)).astype(np.float32),
            rng.normal(size=(items, 8)).astype(np.float32),
            seen=world.seen(),
        )
        for _ in range(2)
    )
    return {"teacher": one, "ensemble": EnsembleTeacher([one, other])}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains(world, teachers, name):
    setting = setting_of(
        world,
        top_k=6,
        num_random=8,
        num_queries=8,
        num_interesting=4,
        rank_decay=3.0,
    )
    terms, weights = build_terms([name], setting, teachers.get)
    student = world.model(4)
    distiller = Distiller(teachers["teacher"], student, terms, weights, 0.5)
    distiller.compile(optimizer=LazyAdam(0.01))
    before = [v.numpy() for v in student.trainable_variables]
    batch = next(iter(world.batches().dataset(1, join=distiller.join)))
    # Eagerly: tracing some forty graphs would take a minute.
    logs = distiller.train_step(batch)
    assert all(np.isfinite(value) for value in logs.values())
    assert any(
        np.abs(v.numpy() - b).max() > 0
        for v, b in zip(student.trainable_variables, before, strict=True)
    )
    # The method alone would move it: its gradient is not nothing.
    with tf.GradientTape() as tape:
        parts = distiller._parts(batch, training=True)[-1]
        distilled = tf.add_n(list(parts.values())[1:])
    gradients = tape.gradient(distilled, student.trainable_variables)
    assert any(
        np.abs(tf.convert_to_tensor(g)).max() > 0
        for g in gradients
        if g is not None
    )


def test_every_method_says_what_it_is():
    for name, method in METHODS.items():
        assert method.help, name
        assert method.source, name
        known = {
            f.name for f in DistillationOptions.__dataclass_fields__.values()
        }
        assert set(method.defaults) | set(method.tunes) <= known | {"weight"}
