"""Mistakes that flags alone show end before TensorFlow is imported."""

import json
import os
import subprocess
import sys

import pytest

# Runs a script once for each list of flags. Importing TensorFlow fails here,
# and so does importing the packages that a case hides.
DRIVER = """
import contextlib, importlib, io, json, sys
from absl.testing import flagsaver

sys.modules["tensorflow"] = None
folder, name, cases = json.load(sys.stdin)
sys.path.insert(0, folder)
import console
script = importlib.import_module(name)
groups = getattr(script, "GROUPS", {})
found = []
for args, hidden in cases:
    sys.argv = [f"{name}.py", *args]
    sys.modules.update(dict.fromkeys(hidden))
    err, status = io.StringIO(), None
    with flagsaver.flagsaver(), contextlib.redirect_stderr(err):
        try:
            console.main(script.run, groups, script.__doc__)
        except SystemExit as end:
            status = end.code
    found.append([status, err.getvalue()])
print(json.dumps(found))
"""
# Flags, words of the line, and packages that are not installed. `{tmp}` is a
# folder with what `files` makes.
RANKING = "--task=ranking"
MISTAKES = {
    "distill": [
        ("--datset=x", ["datset", "--help"]),
        ("--num_events=5", ["num_events", "[100"]),
        ("--flagfile=no.flags", ["no.flags"]),
        ("--split=weekly", ["split", "weekly"]),
        ("--ship=int4", ["ship", "int4", "pruned_int8"]),
        ("--eval_monitor=auc", ["eval_monitor", "auc", "ndcg@20"]),
        ("--pruning_sparsities=", ["--pruning_sparsities", "none"]),
        ("--dataset=netflix", ["netflix", "movielens-1m", "path"]),
        ("--dataset=no/ratings.csv", ["no/ratings.csv"]),
        ("--dataset={tmp}/ratings.xyz", ["ratings.xyz", ".csv"]),
        ("--dataset={tmp}/other.csv", ["other.csv", "--item_column"]),
        ("--dataset={tmp}/empty", ["empty", "data files"]),
        (
            "--dataset={tmp}/ratings.csv --user_column=who",
            ["who", "--user_column"],
        ),
        (
            "--dataset=movielens-100k --user_column=who",
            ["user_id", "movielens-100k"],
        ),
        (
            "--dataset=amazon-book --data_dir={tmp}",
            ["amazon-book", "KD_TFRS_DATA_DIR"],
        ),
        ("--pseudonym_key_file=no.key", ["no.key"]),
        ("--pseudonym_key_file={tmp}/short.key", ["16 bytes"]),
        ("--distillation_losses=", ["--distillation_losses"]),
        ("--distillation_losses=kl", ["kl", "soft_targets"]),
        ("--distillation_losses=rrd:-1", ["rrd:-1", "positive"]),
        ("--distillation_losses=rrd@bert", ["rrd@bert", "lightgcn"]),
        ("--distillation_losses=auto,rrd", ["auto alone"]),
        ("--stages=techer", ["techer", "teacher", "saved_model"]),
        ("--stages=", ["--stages", "none"]),
        ("--stages=als", ["als", "kd_tfrs[baselines]"], ["implicit"]),
        ("--wandb_project=mine", ["kd_tfrs[wandb]"], ["wandb"]),
        ("--history_length=3", ["--history_length", "--task=ranking"]),
        ("--run_dir={tmp}/ratings.csv", ["--run_dir", "ratings.csv"]),
        ("--run_dir={tmp}/run --seed=4", ["--seed was 3, now 4"]),
        (
            "--run_dir={tmp}/seeds --seeds=2 --seed=2 --num_events=300",
            ["--num_events was 150000, now 300"],
        ),
        (f"--run_dir={{tmp}}/run {RANKING}", ["--task was"]),
        (f"{RANKING} --dataset=netflix", ["netflix"]),
        (f"{RANKING} --teacher_networks=dcm", ["dcm", "deepfm"]),
        (f"{RANKING} --distillation_losses=rrd", ["rrd", "hint"]),
        (
            f"{RANKING} --distillation_losses=binary_soft_targets@ease",
            ["ease", "--teacher_networks"],
        ),
        (f"{RANKING} --distillation_top_k=5", ["--task=retrieval"]),
        (f"{RANKING} --stages=teacher_din", ["teacher_din", "int8"]),
        (
            f"{RANKING} --stages=lightgbm",
            ["kd_tfrs[baselines]"],
            ["lightgbm"],
        ),
        (f"{RANKING} --tasks=buy", ["buy", "click"]),
        (
            f"{RANKING} --tasks=click --student_experts=2",
            ["--student_experts", "2"],
        ),
        (
            f"{RANKING} --student_network=din --history_length=0",
            ["student", "--history_length", "din"],
        ),
        (
            f"{RANKING} --student_network=wide_deep --student_crosses=gender",
            ["--student_crosses", "pairs"],
        ),
        (
            f"{RANKING} --teacher_negative_rate=0.5",
            ["--teacher_negative_rate", "click, like"],
        ),
        (
            f"{RANKING} --dataset=criteo --data_dir=/nowhere",
            ["/nowhere"],
        ),
        (
            f"{RANKING} --dataset=criteo --event_columns=I1",
            ["--event_columns", "criteo"],
        ),
        (
            f"{RANKING} --split=leave_one_out --test_share=0.2",
            ["--test_share", "leave_one_out"],
        ),
        (
            f"{RANKING} --pseudonym_key_file={{tmp}}/long.key",
            ["--pseudonym_key_file", "synthetic"],
        ),
    ],
    "compare": [
        ("--dataset=netflix", ["netflix"]),
        ("--methods=kl", ["--methods", "kl"]),
        ("--methods=", ["--methods", "none"]),
        ("--methods=rrd@bert", ["rrd@bert", "lightgcn"]),
        ("--methods=rd+rrd", ["--methods", "rd+rrd"]),
        ("--flagfiles=no.flags", ["no.flags"]),
        (
            "--flagfiles={tmp}/seed.flags,{tmp}/netflix.flags",
            ["netflix"],
        ),
        ("--teacher_dir={tmp}/empty", ["--teacher_dir", "seed-0"]),
        ("--run_dir={tmp}/run --seed=4", ["--seed was 3, now 4"]),
        ("--trials=3", ["optuna", "kd_tfrs[search]"], ["optuna"]),
        (f"{RANKING} --methods=rrd", ["--methods", "rrd"]),
        (
            f"{RANKING} --methods=binary_soft_targets@buy",
            ["--methods", "buy", "click"],
        ),
        (
            f"{RANKING} --teacher_dir={{tmp}}/empty",
            ["--teacher_dir", "teacher_dcn.npz"],
        ),
    ],
    "tune": [
        ("--stage=pruned", ["stage", "pruned"]),
        ("--dataset=netflix", ["netflix"]),
        ("--distillation_losses=kl", ["kl"]),
        ("--run_dir={tmp}/ratings.csv", ["--run_dir"]),
        ("--trials=3", ["optuna", "kd_tfrs[search]"], ["optuna"]),
        (f"{RANKING} --distillation_losses=rrd", ["rrd"]),
        (
            f"{RANKING} --stage=teacher",
            ["--teacher_networks", "dcn,deepfm,autoint"],
        ),
    ],
    "pipeline": [
        ("--retrieval_run={tmp}/run", ["given together"]),
        (
            "--retrieval_run={tmp}/no --ranking_run={tmp}/run",
            ["--retrieval_run", "flags.json"],
        ),
        (
            "--retrieval_run={tmp}/run --ranking_run={tmp}/run",
            ["--ranking_run", "--task=ranking"],
        ),
        ("--retrieval_flags=no.flags", ["no.flags"]),
        ("--dataset=netflix", ["netflix"]),
        ("--split=ratio", ["--split", "time"]),
        ("--run_dir={tmp}/ratings.csv", ["--run_dir"]),
    ],
    "parity": [
        ("", ["--run_dir", "none"]),
        ("--run_dir={tmp}/run", ["--run_dir", "finished"]),
    ],
    "recommend": [
        ("--user_id=1", ["--export_dir"]),
        ("--export_dir={tmp}", ["--user_id"]),
        ("--user_id=1 --export_dir={tmp}", ["saved_model.pb"]),
        (
            "--user_id=1 --export_dir={tmp}/export --history=3",
            ["--history", "flags.json"],
        ),
    ],
    "defaults": [
        ("--settings=loud", ["--settings", "loud"]),
        ("--datasets=", ["--datasets", "none"]),
        ("--datasets=netflix", ["netflix"]),
    ],
    "defaults_ranking": [
        ("--frappe_dir={tmp}/no", ["/no"]),
    ],
    "methods": [
        ("--screening=no.json", ["--screening", "no.json"]),
        ("--screening={tmp}/run/flags.json", ["comparison.json"]),
    ],
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """What the flags of the mistakes point at."""
    from kd_tfrs.workflow.retrieval.config import Config
    from kd_tfrs.workflow.run import Run

    tmp = tmp_path_factory.mktemp("files")
    for name in ("empty", "export"):
        (tmp / name).mkdir()
    for name, text in {
        "ratings.csv": "user_id,item_id\na,1\n",
        "ratings.xyz": "user_id,item_id\na,1\n",
        "other.csv": "user_id,rating\na,1\n",
        "short.key": "abc",
        "long.key": "0123456789abcdef",
        "seed.flags": "--seed=1\n",
        "netflix.flags": "--dataset=netflix\n",
        "export/saved_model.pb": "",
    }.items():
        (tmp / name).write_text(text)
    for folder, seed in (("run", 3), ("seeds/seed-3", 3)):
        run = Run(tmp / folder, Config(seed=seed))
        run.check_data("0" * 64)
        run.close()
    return tmp


@pytest.mark.parametrize("script", MISTAKES)
def test_a_mistake_does_not_wait_for_tensorflow(script, files, scripts):
    cases = []
    for flags, _, *hidden in MISTAKES[script]:
        args = flags.format(tmp=files).split()
        if script not in ("parity", "recommend", "methods"):
            # A mistake that is not found should leave nothing behind.
            args = [f"--run_dir={files / 'new'}", *args]
        cases.append([args, *(hidden or [[]])])
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        input=json.dumps([str(scripts), script, cases]),
        capture_output=True,
        text=True,
        env={**os.environ, "KD_TFRS_DATA_DIR": str(files)},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for (flags, words, *_), (status, err) in zip(
        MISTAKES[script], found, strict=True
    ):
        assert status == 2, flags
        assert err.startswith("error: "), (flags, err)
        assert err.count("\n") == 1, (flags, err)
        for word in words:
            assert word in err, (flags, err)
    assert not (files / "new").exists()
