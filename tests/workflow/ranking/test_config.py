"""Options of a ranking run: flags, limits, what goes together."""

import re
import typing
from pathlib import Path

import pytest

from kd_tfrs.data.ranking import splits as ranking_splits
from kd_tfrs.errors import UserError
from kd_tfrs.models.ranking import config as presets
from kd_tfrs.workflow.ranking import options
from kd_tfrs.workflow.ranking.builders import ranker_config
from kd_tfrs.workflow.ranking.config import RankingConfig
from kd_tfrs.workflow.ranking.naming import member_stages, stage_names
from kd_tfrs.workflow.retrieval.config import Config
from kd_tfrs.workflow.run import Run


def test_flat_and_back():
    config = RankingConfig.from_flat(
        {
            "seed": 4,
            "tasks": ["liked", "rating"],
            "task_weights": [1.0, 0.2],
            "teacher_networks": ["dcn", "din"],
            "student_network": "autoint",
            "student_heads": 3,
            "distilled_negative_rate": 0.25,
            "eval_monitor": "gauc",
        }
    )
    assert RankingConfig.from_flat(config.flat()) == config
    assert config.flat()["task"] == "ranking"
    assert config.student_ranker.heads == 3
    assert RankingConfig.from_flat({}) == RankingConfig()


def test_splits_are_those_of_the_data():
    """They stand twice so that --help does not wait for TensorFlow."""
    assert options.SPLITS == ranking_splits.METHODS


def test_the_default_sizes_are_the_presets():
    """They stand twice for the same reason; and the sample flags' for edge."""
    config = RankingConfig()
    for sizes, training, preset in (
        (config.teacher_rankers, config.teacher, presets.TEACHER),
        (config.student_ranker, config.student, presets.STUDENT),
    ):
        found = ranker_config(sizes, preset.architecture, training.dropout)
        assert found == preset
    text = Path("experiments/configs/sample/ranking-edge.flags").read_text()
    given = dict(re.findall(r"^--(\w+)=(.*)$", text, re.M))
    assert given.pop("task") == "ranking"
    edge = presets.EDGE
    assert given == {
        "student_network": edge.architecture,
        "student_embedding_dim": str(edge.embedding_dim),
        "student_hidden_units": ",".join(map(str, edge.hidden_units)),
    }


def test_every_option_of_a_network_reaches_it():
    """From a flag's value to what `build_ranker` is told."""
    for name, flag, network, told in (
        ("stacked", True, "dcn", True),
        ("attention_units", (16, 8), "din", (16, 8)),
        ("attention_softmax", True, "din", True),
        ("bottom_units", (32,), "dlrm", (32,)),
        ("crosses", ("a*b", "a*c"), "wide_deep", (("a", "b"), ("a", "c"))),
    ):
        sizes = options.RankerOptions(**{name: flag})
        assert getattr(ranker_config(sizes, network, 0.0), name) == told
        assert getattr(ranker_config(sizes, "dnn", 0.0), name) is None
        default = ranker_config(options.RankerOptions(), network, 0.0)
        assert getattr(default, name) is None


def test_options_with_the_same_flag_are_of_the_same_type():
    """One flag serves both tasks."""
    types = []
    for kind in (Config, RankingConfig):
        found = {}
        for section, prefix in kind.sections.items():
            owner = type(getattr(kind(), section))
            for name, hint in typing.get_type_hints(owner).items():
                found[prefix + name] = hint
        types.append(found)
    both = set(types[0]) & set(types[1])
    assert {"dataset", "teacher_learning_rate", "pruning_epochs"} <= both
    for name in both:
        assert types[0][name] == types[1][name], name


@pytest.mark.parametrize(
    ("flat", "words"),
    [
        ({"teacher_networks": ["dcm"]}, "--teacher_networks.*deepfm.*dcm"),
        ({"teacher_networks": []}, "--teacher_networks.*none"),
        ({"student_heads": 2}, "--student_heads.*autoint only.*dnn"),
        ({"task_weights": [1.0]}, "--task_weights.*1 weights for 0"),
        ({"distilled_negative_rate": 0.0}, "--distilled_negative_rate.*1e-06"),
        ({"eval_monitor": "ndcg@20"}, "--eval_monitor.*auc"),
        ({"distillation_losses": []}, "--distillation_losses.*none"),
        ({"distillation_session_length": 1}, "session_length.*at least 2"),
    ],
)
def test_mistakes_are_named_after_their_flags(flat, words):
    with pytest.raises(UserError, match=words):
        RankingConfig.from_flat(flat)


def test_every_network_is_a_stage():
    config = RankingConfig.from_flat(
        {"teacher_networks": ["dcn", "dnn", "dcn"], "eval_baselines": False}
    )
    assert member_stages(config) == {
        "teacher_dcn": "dcn",
        "teacher_dnn": "dnn",
        "teacher_dcn_2": "dcn",
    }
    assert stage_names(config)[:4] == (*member_stages(config), "teacher")
    assert stage_names(RankingConfig())[:2] == ("prior", "lightgbm")


def test_a_retrieval_run_is_no_ranking_run(tmp_path):
    run = Run(tmp_path / "run", Config())
    run.write_json("data.json", {})
    run.close()
    with pytest.raises(
        UserError, match="--task was 'retrieval', now 'ranking'"
    ):
        Run(tmp_path / "run", RankingConfig())
    Run(tmp_path / "run", Config()).close()


@pytest.mark.parametrize(
    "beside",
    [
        {"distilled_negative_rate": 0.5},
        {"distilled_class_weights": "balanced"},
        {"distillation_losses": ["session_list:0.1"]},
    ],
)
def test_rows_without_a_label_go_alone(beside):
    with pytest.raises(UserError, match="--distillation_unlabelled"):
        RankingConfig.from_flat({"distillation_unlabelled": 1.0, **beside})
