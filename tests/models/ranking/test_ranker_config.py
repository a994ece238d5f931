"""Configurations: their ranges, what they ignore, the presets."""

import dataclasses

import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.models.ranking import (
    ARCHITECTURES,
    EDGE,
    STUDENT,
    TEACHER,
    RankerConfig,
    RankingTask,
    build_ranker,
)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (
            {"architecture": "dcnn"},
            "`architecture` should be one of autoint, dcn",
        ),
        ({"activation": "gelu"}, "`activation` should be one of relu"),
        ({"embedding_dim": 0}, "`embedding_dim` should be positive"),
        ({"embedding_dim": 2.5}, "`embedding_dim` should be positive"),
        ({"hidden_units": (4, -1)}, "`hidden_units` should be positive"),
        ({"hidden_units": (True,)}, "`hidden_units` should be positive"),
        ({"tower_units": (0,)}, "`tower_units` should be positive"),
        ({"dropout": 1.0}, "`dropout` should lie"),
        ({"l2": -1.0}, "`l2` should be at least 0"),
        ({"l2": float("nan")}, "`l2` should be at least 0"),
        ({"experts": 1}, "`experts` should be 2 or more"),
        ({"experts": 2, "hidden_units": ()}, "`experts` should be 2 or more"),
        ({"cross_layers": 2}, "`cross_layers` is used by dcn only"),
        ({"heads": 2}, "`heads` is used by autoint only"),
        ({"stacked": False}, "`stacked` is used by dcn only"),
        ({"crosses": (("a", "b"),)}, "`crosses` is used by wide_deep only"),
        (
            {"architecture": "dcn", "projection_dim": 0},
            "`projection_dim` should be positive",
        ),
        (
            {"architecture": "wide_deep", "crosses": (("a", "a"),)},
            "`crosses` should be pairs",
        ),
    ],
)
def test_options_out_of_range(options, named):
    with pytest.raises(UserError, match=named):
        RankerConfig(**options)


def test_lists_of_a_file_become_tuples():
    config = RankerConfig("din", hidden_units=[4, 3], attention_units=[2])
    assert config == RankerConfig(
        "din", hidden_units=(4, 3), attention_units=(2,)
    )
    hash(config)


def test_presets_shrink_and_fit_every_architecture(features):
    tasks = (RankingTask("y"),)
    sizes = [
        build_ranker(features, preset, tasks).count_params()
        for preset in (TEACHER, STUDENT, EDGE)
    ]
    assert sizes[0] > 20 * sizes[1] > 20 * sizes[2]
    for architecture in ARCHITECTURES:
        config = dataclasses.replace(TEACHER, architecture=architecture)
        assert config.embedding_dim == TEACHER.embedding_dim
