"""Options: their limits, and the way to flags and back."""

import dataclasses

import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.retrieval.config import (
    SECTIONS,
    Config,
    DistillationOptions,
    TowerOptions,
)


def test_flat_has_one_name_for_each_option():
    config = Config()
    options = 1 + sum(
        len(dataclasses.fields(getattr(config, section)))
        for section in SECTIONS
    )
    assert len(config.flat()) == options


def test_every_option_has_help():
    for section in SECTIONS:
        for field in dataclasses.fields(getattr(Config(), section)):
            assert field.metadata["help"].endswith("."), field.name


def test_round_trip_of_other_than_default_values(tiny):
    flat = {
        **Config().flat(),
        **tiny,
        "seed": 7,
        "dataset": "citeulike-full",
        "min_label": 3.5,
        "teacher_hidden_units": [64, 32],
        "distillation_losses": ["soft_targets:0.3", "score_regression:2.0"],
        "distillation_knowledge": "live",
        "pruning_learning_rate": 0.002,
        "eval_baselines": False,
    }
    config = Config.from_flat(flat)
    assert config.flat() == flat
    assert Config.from_flat(config.flat()) == config
    assert config.teacher_towers.hidden_units == (64, 32)
    assert config.data.min_label == 3.5


def test_absent_values_keep_their_defaults():
    assert Config.from_flat({}) == Config()
    assert Config.from_flat({"seed": 2}).seed == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_events": 99}, ["`--num_events`", "at least 100", "99"]),
        ({"num_events": 10**8}, ["at most 1e+07", "100000000"]),
        ({"teacher_dropout": 0.96}, ["`--teacher_dropout`", "0.95", "0.96"]),
        ({"student_epochs": 0}, ["`--student_epochs`", "at least 1"]),
        ({"pruning_sparsities": [1.0]}, ["0.01", "0.99"]),
        ({"split": "weekly"}, ["`--split`", "leave_one_out", "'weekly'"]),
        ({"teacher_hidden_units": [64, 0]}, ["`--teacher_hidden_units`"]),
        ({"distillation_losses": []}, ["`--distillation_losses`"]),
        (
            {
                "distillation_candidates": "sampled",
                "distillation_num_random": 1,
            },
            ["`--distillation_num_random`", "at least 2"],
        ),
    ],
)
def test_limits_name_the_flag_and_the_value(changes, words):
    with pytest.raises(UserError) as error:
        Config.from_flat(changes)
    for word in words:
        assert word in str(error.value)


def test_limits_name_the_field_in_python():
    with pytest.raises(UserError, match="`embedding_dim` = 0"):
        TowerOptions(embedding_dim=0)
    with pytest.raises(UserError, match="`losses`"):
        DistillationOptions(losses=())


def test_the_default_sizes_are_the_presets():
    # `config` may not import TensorFlow, which the presets do.
    from kd_tfrs.models.retrieval import STUDENT, TEACHER

    config = Config()
    assert config.teacher_towers.embedding_dim == TEACHER.embedding_dim
    assert config.student_towers.embedding_dim == STUDENT.embedding_dim
