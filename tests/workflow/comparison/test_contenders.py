"""The contenders of a comparison, their flags and search spaces."""

import functools
from types import SimpleNamespace

import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.comparison import contenders as module
from kd_tfrs.workflow.naming import parse_method
from kd_tfrs.workflow.retrieval import comparison
from kd_tfrs.workflow.retrieval.config import Config

CONFIG = Config.from_flat(
    {
        "student_learning_rate": 0.02,
        "student_batch_size": 512,
        "student_uniform_negatives": 0,
        "distilled_learning_rate": 0.04,
        "distillation_top_k": 70,
    }
)
FAKES = {
    "soft_targets": {
        "defaults": {"temperature": 1.5},
        "tunes": {"temperature": (1.0, 2.0)},
    },
    "score_regression": {
        "defaults": {"weight": 0.25, "candidates": "in_batch"}
    },
    "teacher_hard_label": {"defaults": {"candidates": "sampled"}},
}


METHODS = {
    name: SimpleNamespace(**{"defaults": {}, "tunes": {}, **fields})
    for name, fields in FAKES.items()
}
FAMILY = module.Family(
    METHODS,
    lambda text: parse_method(text, METHODS),
    comparison.FAMILY.training,
)
contender = functools.partial(module.contender, family=FAMILY)
contenders = functools.partial(module.contenders, family=FAMILY)


def test_the_student_alone_always_takes_part_and_first():
    found = contenders(["score_regression", "student"], CONFIG)
    assert [one.name for one in found] == ["student", "score_regression"]
    found = contenders(["all", "soft_targets+score_regression"], CONFIG)
    assert [one.name for one in found] == [
        "student",
        *FAKES,
        "soft_targets+score_regression",
    ]


def test_the_first_point_is_what_was_given():
    for one in contenders(["all"], CONFIG):
        assert one.flags(one.first) == one.flat
        for choices in one.space.values():
            assert len(set(choices)) == len(choices) > 1
        for name, choices in one.space.items():
            for value in choices:
                Config.from_flat(one.flags({name: value}))


def test_a_method_has_its_own_defaults_and_the_given_flags():
    one = contender("score_regression", CONFIG)
    assert one.stage == "distilled"
    assert one.flat["distillation_losses"] == ["score_regression:0.25"]
    assert one.flat["distillation_candidates"] == "in_batch"
    assert one.flat["distillation_top_k"] == 70
    assert contender("student", CONFIG).flat == CONFIG.flat()


def test_labels_weigh_what_they_do_beside_a_named_method_or_as_given():
    one = contender("soft_targets", CONFIG)
    assert one.flat["distillation_student_loss_weight"] == 0.2
    assert one.space["distillation_student_loss_weight"] == (0.2, 0.5, 1.0)
    flat = {**CONFIG.flat(), "distillation_student_loss_weight": 0.0}
    one = contender("soft_targets", Config.from_flat(flat))
    assert one.flat["distillation_student_loss_weight"] == 0.0
    # The student alone has labels and nothing else.
    alone = contender("student", CONFIG)
    assert "distillation_student_loss_weight" not in alone.space


def test_a_given_weight_counts_more_than_the_methods_own():
    flat = {**CONFIG.flat(), "distillation_losses": ["score_regression:3"]}
    given = Config.from_flat(flat)
    for name, weight in (
        ("score_regression", "3"),
        ("score_regression:2", "2"),
        ("teacher_hard_label", "1"),
    ):
        one = contender(name, given)
        losses = [f"{name.partition(':')[0]}:{weight}"]
        assert one.flat["distillation_losses"] == losses


def test_a_combination_is_made_louder_and_softer_together():
    one = contender("soft_targets:2+score_regression", CONFIG)
    assert one.space["distillation_losses"] == (
        "soft_targets:2,score_regression:0.25",
        "soft_targets:0.6,score_regression:0.075",
        "soft_targets:6,score_regression:0.75",
    )
    changed = one.flags(
        {"distillation_losses": "soft_targets:6,score_regression:0.75"}
    )
    assert changed["distillation_losses"] == [
        "soft_targets:6",
        "score_regression:0.75",
    ]
    assert ":" not in one.folder


def test_spaces_are_around_what_was_given():
    alone = contender("student", CONFIG).space
    assert alone["student_learning_rate"] == (0.02, 0.01, 0.04)
    assert alone["student_softmax_temperature"] == (0.15, 0.1, 0.2)
    assert alone["student_uniform_negatives"] == (0, 256, 512)
    assert alone["student_batch_size"] == (512, 256, 1024)
    soft = contender("soft_targets", CONFIG).space
    assert soft["distilled_learning_rate"] == (0.04, 0.02, 0.08)
    assert soft["distillation_temperature"] == (1.5, 1.0, 2.0)
    hard = contender("teacher_hard_label", CONFIG).space
    assert "distillation_temperature" not in hard
    assert len(alone) >= len(hard), "the student alone has as many choices"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["kl"], ["`--methods`", "kl", "soft_targets"]),
        ([""], ["none", "--methods=all"]),
        (["soft_targets+"], ["''", "soft_targets"]),
        (["soft_targets:x"], ["soft_targets:x", "positive"]),
        (["soft_targets:0"], ["soft_targets:0", "positive"]),
        (["soft_targets:nan"], ["nan", "positive"]),
        (
            ["score_regression+teacher_hard_label"],
            ["--distillation_candidates", "in_batch", "sampled", "one by one"],
        ),
    ],
)
def test_mistakes_are_named(names, words):
    with pytest.raises(UserError) as error:
        contenders(names, CONFIG)
    for word in words:
        assert word in str(error.value)
