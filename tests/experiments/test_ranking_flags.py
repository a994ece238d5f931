"""distill.py --task=ranking: flags, help, mistakes, and a run of moments."""

import json
import sys

import console
import distill
import pytest
from absl.testing import flagsaver

from kd_tfrs.workflow.ranking.config import RankingConfig
from kd_tfrs.workflow.retrieval.config import Config


@pytest.fixture
def call(monkeypatch, capfd):
    """Runs the script as its command does; status, output and errors."""

    def run(*args):
        argv = [distill.__file__, "--task=ranking", *map(str, args)]
        monkeypatch.setattr(sys, "argv", argv)
        with flagsaver.flagsaver(), pytest.raises(SystemExit) as end:
            console.main(distill.run, distill.GROUPS, distill.__doc__)
        printed = capfd.readouterr()
        return end.value.code, printed.out, printed.err

    return run


# What is wrong, and the words that the line should have.
MISTAKES = {
    "unknown network": (["--teacher_networks=dcm"], ["dcm", "deepfm"]),
    "another one's option": (
        ["--student_cross_layers=2"],
        ["--student_cross_layers", "dcn", "dnn"],
    ),
    "option of retrieval": (
        ["--distillation_top_k=5"],
        ["--distillation_top_k", "--task=retrieval"],
    ),
    "monitor of retrieval": (
        ["--eval_monitor=ndcg@20"],
        ["--eval_monitor", "ndcg@20", "gauc"],
    ),
    "weights in words": (
        ["--tasks=click,like", "--task_weights=1,half"],
        ["--task_weights", "half", "1,0.5"],
    ),
    "weights without tasks": (["--task_weights=1"], ["--tasks"]),
    "rate of zero": (
        ["--student_negative_rate=0"],
        ["student_negative_rate", "0"],
    ),
    "unknown stage": (
        ["--stages=teacher_din"],
        ["teacher_din", "teacher_dcn", "int8"],
    ),
    "unknown task": (["--tasks=buy"], ["buy"]),
    "unknown method": (
        ["--distillation=soft_target"],
        ["soft_target", "binary_soft_targets"],
    ),
    "a teacher of retrieval": (
        ["--distillation=binary_soft_targets@ease"],
        ["--teacher_networks", "ease"],
    ),
    "missing file": (["--dataset=no/clicks.libfm"], ["no/clicks.libfm"]),
    "layer of nobody": (
        [
            "--teacher_networks=dcn",
            "--distillation_losses=hint",
            "--distillation_teacher_output=hidden_7",
            "--stages=distilled",
        ],
        ["--distillation_teacher_output", "hidden_7", "interaction"],
    ),
    "a teacher that needs a past": (
        ["--teacher_networks=dcn,din", "--history_length=0"],
        ["teacher_din", "--history_length", "din"],
    ),
    "a student that needs a past, found before its teachers train": (
        ["--student_network=din", "--history_length=0"],
        ["student", "--history_length", "din"],
    ),
    "experts of one label": (
        ["--tasks=click", "--student_experts=2"],
        ["--student_experts", "2"],
    ),
    "towers of one label": (
        ["--tasks=click", "--student_tower_units=8"],
        ["--student_tower_units", "8"],
    ),
    "sampled negatives of two labels": (
        ["--tasks=click,like", "--teacher_negative_rate=0.5"],
        ["--teacher_negative_rate", "0.5", "click, like"],
    ),
    "crosses of another network": (
        ["--student_crosses=gender*genres"],
        ["--student_crosses", "wide_deep", "gender*genres"],
    ),
    "a cross of one column": (
        ["--student_network=wide_deep", "--student_crosses=gender"],
        ["--student_crosses", "pairs", "gender"],
    ),
    "columns of invented events": (
        ["--event_columns=device,position"],
        ["--event_columns", "synthetic", "device,position"],
    ),
    "columns of a data set that has its own": (
        ["--dataset=movielens-100k", "--training_only_columns=age"],
        ["--training_only_columns", "movielens-100k"],
    ),
    "columns of a log": (
        ["--dataset=criteo", "--event_columns=I1"],
        ["--event_columns", "criteo", "logs"],
    ),
    "missing key": (["--pseudonym_key_file=no.key"], ["no.key"]),
    "pseudonyms of nobody": (
        ["--pseudonym_key_file=setup.py"],
        ["--pseudonym_key_file", "synthetic"],
    ),
    "missing log": (
        ["--dataset=criteo", "--data_dir=/nowhere"],
        ["/nowhere"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line(call, name, tmp_path):
    flags, words = MISTAKES[name]
    status, _, err = call(
        "--num_events=300", f"--run_dir={tmp_path / 'run'}", *flags
    )
    assert status not in (0, None)
    assert err.startswith("error: "), err
    assert err.count("\n") == 1, err
    assert len(err) < 600
    for word in words:
        assert word in err


def test_an_option_of_ranking_is_refused_to_retrieval(call):
    status, _, err = call("--task=retrieval", "--history_length=3")
    assert status not in (0, None)
    assert "--history_length" in err
    assert "--task=ranking" in err


def test_flags_have_the_defaults_of_the_task():
    distill.FLAGS.mark_as_parsed()
    assert console.config_from_flags(RankingConfig) == RankingConfig()
    assert console.config_from_flags() == Config()
    with flagsaver.flagsaver(
        teacher_embedding_dim=128,  # retrieval's default, but given
        teacher_hidden_units=["64", "32"],
        tasks=["liked", "rating"],
        task_weights=["1", "0.25"],
    ):
        config = console.config_from_flags(RankingConfig)
    assert config.teacher_rankers.embedding_dim == 128
    assert config.teacher_rankers.hidden_units == (64, 32)
    assert config.data.task_weights == (1.0, 0.25)
    assert config.student_ranker == RankingConfig().student_ranker


def test_help_has_every_option_once(call):
    status, out, _ = call("--help")
    assert status in (0, None)
    for name in RankingConfig().flat():
        assert out.count(f"\n  --{name}: ") == 1, name
    text = " ".join(out.split())
    assert "Ranking. Teacher rankers: Kinds, size and shape" in text
    assert "For ranking 32 by default." in text
    assert max(map(len, out.splitlines())) <= 80


def test_methods_of_rankers_are_listed(call):
    status, out, _ = call("--list_methods")
    assert status in (0, None)
    names = [line.split()[0] for line in out.splitlines()]
    assert {"binary_soft_targets", "auxiliary_head", "cross_task"} <= {*names}
    assert "rrd" not in names


def test_an_own_file_has_several_labels(call, tmp_path):
    """Of 200 rows every other is a click, and every fourth has stars."""
    lines = [
        f"{n % 7},{n % 5},{10**9 + n},{n % 2},{n % 5 + 1 if n % 4 else ''},"
        f"{'tv' if n % 3 else 'web'},{n % 4}"
        for n in range(200)
    ]
    path, directory = tmp_path / "clicks.csv", tmp_path / "run"
    names = "user_id,item_id,timestamp,click,stars,device,position"
    path.write_text("\n".join([names, *lines]) + "\n")
    flags = [
        f"--dataset={path}",
        "--tasks=click,stars",
        "--event_columns=device",
        "--training_only_columns=position",
        "--stages=prior",
        "--eval_bootstrap=5",
        f"--run_dir={directory}",
    ]
    status, _, err = call(*flags)
    assert status in (0, None), err
    found = json.loads((directory / "metrics.json").read_text())
    assert found["tasks"] == {"click": "binary", "stars": "rating"}
    metrics = found["baselines"][0]["metrics"]
    assert metrics["auc"] == 0.5
    assert metrics["stars/rmse"] > 0
    kept = json.loads((directory / "flags.json").read_text())
    assert kept["event_columns"] == ["device"]
    # Another column is another model.
    status, _, err = call(*flags, "--event_columns=device,position")
    assert status not in (0, None)
    assert "--event_columns was ['device']" in err


def test_a_run_goes_from_flags_to_a_table(call, tmp_path):
    directory = tmp_path / "run"
    status, out, err = call(
        "--num_events=600",
        "--history_length=0",
        "--tasks=click",
        "--stages=prior",
        "--eval_bootstrap=5",
        f"--run_dir={directory}",
    )
    assert status in (0, None), err
    assert "prior" in out
    found = json.loads((directory / "metrics.json").read_text())
    assert found["baselines"][0]["metrics"]["auc"] == 0.5
    assert found["stages"] == []
    assert "| prior |" in (directory / "stages.md").read_text()
