"""Users' mistakes: a status that is not 0 and one line that helps."""

import os
import subprocess
import sys

import console
import distill
import numpy as np
import pandas as pd
import pytest
import recommend
from absl.testing import flagsaver

from kd_tfrs.workflow.retrieval.config import Config, DataConfig
from kd_tfrs.workflow.run import Run

HEADER = "user_id,item_id,rating,timestamp\n"


def events(users=6, each=5):
    """A good file's text."""
    rows = [
        f"u{user},i{(user + place) % 9},{1 + place},{1000 + place}"
        for user in range(users)
        for place in range(each)
    ]
    return HEADER + "\n".join(rows) + "\n"


@pytest.fixture
def claimed(tmp_path, tiny):
    """A run folder made by the flags that `mistake` gives."""
    runs = []

    def claim(**changes):
        config = Config.from_flat({**tiny, "num_events": 300, **changes})
        runs.append(Run(tmp_path / "run", config))
        return runs[-1]

    yield claim
    for run in runs:
        run.close()


@pytest.fixture
def mistake(monkeypatch, capfd, tiny_flags):
    """Runs a script as its command does; returns its one line on stderr."""

    def run(script, *args):
        # A mistake that is not found should not cost minutes.
        tiny = tiny_flags(num_events=300) if script is distill else []
        argv = [script.__file__, *tiny, *map(str, args)]
        monkeypatch.setattr(sys, "argv", argv)
        with flagsaver.flagsaver(), pytest.raises(SystemExit) as end:
            console.main(script.run, script.GROUPS, script.__doc__)
        err = capfd.readouterr().err
        check_one_line(end.value.code, err)
        return err

    return run


def check_one_line(status, err):
    assert status not in (0, None), err
    assert "Traceback" not in err
    assert err.startswith("error: "), err
    assert err.count("\n") == 1, err
    assert len(err) < 600, "too long to be read"


# What is wrong, and the words that the line should have: what it is about,
# then the way out.
FLAGS = {
    "unknown flag": (["--datset=x"], ["datset", "--help"]),
    "no dashes": (["movielens-100k"], ["movielens-100k", "--name=value"]),
    "text for a number": (["--num_events=many"], ["num_events", "many"]),
    "below the limit": (["--num_events=5"], ["num_events", "5", "[100"]),
    "no seeds": (["--seeds=0"], ["--seeds=0", "positive"]),
    "unknown choice": (["--split=weekly"], ["split", "weekly", "ratio"]),
    "unknown monitor": (["--eval_monitor=auc"], ["auc", "ndcg@20"]),
    "share above 1": (
        ["--pruning_sparsities=1.5"],
        ["pruning_sparsities", "1.5", "0.99"],
    ),
    "shares that fall": (
        ["--pruning_sparsities=0.5,0.25"],
        ["--pruning_sparsities", "ascending", "0.5,0.25", "0.25,0.5"],
    ),
    "unknown form": (["--ship=int4"], ["ship", "int4", "pruned_int8"]),
    "loss below zero": (["--max_loss=-1"], ["max_loss", "-1", "[0"]),
    "tables without hidden layers": (
        ["--distillation_tables", "--distillation_student_output=hidden_0"],
        [
            "--distillation_tables",
            "--distillation_student_output",
            "hidden_0",
            "--nodistillation_tables",
        ],
    ),
    "widths in words": (
        ["--teacher_hidden_units=256,wide"],
        ["--teacher_hidden_units", "wide", "256,128"],
    ),
    "width of zero": (
        ["--student_hidden_units=0"],
        ["--student_hidden_units", "0", "at least 1"],
    ),
    "unknown loss": (
        ["--distillation_losses=kl"],
        ["--distillation_losses", "kl", "soft_targets"],
    ),
    "weight below zero": (
        ["--distillation_losses=soft_targets:-1"],
        ["--distillation_losses", "-1", "soft_targets:0.8"],
    ),
    "no loss": (
        ["--distillation_losses="],
        ["--distillation_losses", "soft_targets"],
    ),
    "unknown stage": (["--stages=techer"], ["techer", "teacher"]),
    "too few samples": (
        ["--distillation_candidates=sampled", "--distillation_num_random=1"],
        ["--distillation_num_random", "1", "at least 2"],
    ),
    "missing flag file": (["--flagfile=no.flags"], ["no.flags"]),
    "unknown data set": (
        ["--dataset=netflix"],
        ["netflix", "movielens-1m", "path"],
    ),
    "missing file": (["--dataset=no/ratings.csv"], ["no/ratings.csv"]),
    "missing key": (
        ["--pseudonym_key_file=no.key"],
        ["no.key"],
    ),
    "renamed flag": (
        ["--distillation_over=top_k"],
        ["distillation_over", "Write `--distillation_candidates`"],
    ),
    "nothing given": (["--split=given"], ["given", "split"]),
    "nothing left": (
        ["--num_events=300", "--min_user_events=1000"],
        ["too few events", "filters"],
    ),
}


@pytest.mark.parametrize("case", FLAGS)
def test_flags(case, mistake, tmp_path):
    args, words = FLAGS[case]
    err = mistake(distill, f"--run_dir={tmp_path / 'run'}", *args)
    for word in words:
        assert word in err


# Flags that ask for the same after the remedy of the error was followed.
REMEDIES = {
    "shares that fall": ["--pruning_sparsities=0.25,0.5"],
    "unknown form": ["--ship=pruned_int8"],
    "loss below zero": ["--max_loss=0"],
    "tables without hidden layers": [
        "--nodistillation_tables",
        "--distillation_student_output=hidden_0",
    ],
}


@pytest.mark.parametrize("case", REMEDIES)
def test_remedies_work(case):
    assert case in FLAGS
    with flagsaver.flagsaver():
        distill.FLAGS(["distill.py", *REMEDIES[case]])
        assert console.config_from_flags() != Config()


def parquet(path):
    pd.DataFrame({"user_id": ["a"] * 99, "item_id": range(99)}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-20])


def folder(**files):
    def write(path):
        path.mkdir()
        for name, text in files.items():
            (path / name.replace("_", ".")).write_text(text)

    return write


FILES = {
    "empty": ("a.csv", "", ["a.csv", "empty"]),
    "header alone": ("a.csv", HEADER, ["a.csv", "row"]),
    "blank ids": ("a.csv", HEADER + ",,5,1\n ,,4,2\n", ["id"]),
    "missing column": (
        "a.csv",
        "user_id,rating\na,5\nb,4\n",
        ["a.csv", "--item_column"],
    ),
    "twice the same column": (
        "a.csv",
        "user_id,item_id,item_id\na,1,2\n",
        ["a.csv", "item_id"],
    ),
    "wrong delimiter": (
        "a.csv",
        events().replace(",", ";"),
        ["a.csv", "semicolons"],
    ),
    "ratings in words": (
        "a.csv",
        HEADER + "u1,i1,good,1\nu2,i2,bad,2\n",
        ["rating", "good", "row 1"],
    ),
    "not UTF-8": (
        "a.csv",
        (HEADER + "u1,caf\xe9,5,1\n").encode("latin-1"),
        ["a.csv", "UTF-8", "2"],
    ),
    "unknown kind": ("a.xyz", events(), ["a.xyz", ".csv"]),
    "truncated Parquet": ("a.parquet", parquet, ["a.parquet"]),
    "broken JSON line": (
        "a.jsonl",
        '{"user_id": "a", "item_id": "b"}\n{"user_id": "a", \n',
        ["a.jsonl", "line 2"],
    ),
    "letters in an adjacency list": (
        "a.txt",
        "0 1 2 3\n1 2 x 4\n",
        ["a.txt", "line 2", "x"],
    ),
    "empty folder": ("folder", folder(), ["folder"]),
    "mixed folder": (
        "folder",
        folder(a_csv=events(), b_jsonl='{"user_id": "a", "item_id": "b"}\n'),
        ["folder", "csv", "jsonl"],
    ),
    "nothing to hold out": ("a.csv", events(each=1), ["split", "3"]),
}


@pytest.mark.parametrize("case", FILES)
def test_files(case, mistake, tmp_path):
    name, content, words = FILES[case]
    path = tmp_path / name
    if callable(content):
        content(path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content)
    err = mistake(distill, f"--dataset={path}", f"--run_dir={tmp_path / 'run'}")
    for word in words:
        assert word in err


def test_file_without_the_named_column(mistake, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(events())
    err = mistake(
        distill,
        f"--dataset={path}",
        "--user_column=customer",
        f"--run_dir={tmp_path / 'run'}",
    )
    assert "customer" in err
    assert "user_id" in err


def test_split_by_time_without_time(mistake, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("user_id,item_id\na,1\na,2\na,3\nb,1\nb,2\nb,4\n")
    err = mistake(
        distill,
        f"--dataset={path}",
        "--split=time",
        f"--run_dir={tmp_path / 'run'}",
    )
    assert "time" in err
    assert "leave_one_out" in err or "ratio" in err


def test_key_that_is_too_short(mistake, tmp_path):
    key = tmp_path / "short.key"
    key.write_text("abc")
    err = mistake(
        distill, f"--pseudonym_key_file={key}", f"--run_dir={tmp_path / 'run'}"
    )
    assert "16 bytes" in err
    assert "abc" not in err


def test_run_dir_that_is_a_file(mistake, tmp_path):
    (tmp_path / "run").write_text("")
    err = mistake(distill, f"--run_dir={tmp_path / 'run'}")
    assert "--run_dir" in err


def test_run_dir_of_other_flags(mistake, claimed):
    run = claimed(seed=3)
    run.check_data("0" * 64)
    run.close()
    err = mistake(distill, f"--run_dir={run.directory}", "--seed=4")
    assert "--seed was 3, now 4" in err
    assert "another folder" in err


def test_run_dir_with_broken_flags(mistake, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "flags.json").write_text("{")
    err = mistake(distill, f"--run_dir={tmp_path / 'run'}")
    assert "flags.json" in err
    assert "--run_dir" in err


def test_run_dir_in_use(mistake, claimed):
    err = mistake(distill, f"--run_dir={claimed().directory}")
    assert "Another process" in err
    assert "--run_dir" in err


def test_run_dir_of_other_data(mistake, claimed):
    run = claimed()
    run.check_data("0" * 64)
    run.close()
    err = mistake(distill, f"--run_dir={run.directory}")
    assert "data has changed" in err
    assert "--run_dir" in err


def test_run_dir_with_damaged_weights(mistake, claimed):
    run = claimed()
    run.write_json("stages/teacher.json", {"stage": "teacher"})
    run.save_weights("teacher", [np.zeros(3)])
    run.close()
    file = run.directory / "weights" / "teacher.npz"
    file.write_bytes(file.read_bytes()[:40])
    err = mistake(distill, f"--run_dir={run.directory}", "--stages=distilled")
    assert str(file) in err
    assert "--run_dir" in err


def test_wandb_that_refuses(mistake, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")

    def refuse(**_):
        raise wandb.errors.UsageError("No API key configured.")

    monkeypatch.setattr(wandb, "init", refuse)
    err = mistake(
        distill, f"--run_dir={tmp_path / 'run'}", "--wandb_project=mine"
    )
    assert "--wandb_project" in err
    assert "No API key" in err
    assert "WANDB_MODE=offline" in err


def test_wandb_that_is_not_installed(mistake, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    err = mistake(
        distill, f"--run_dir={tmp_path / 'run'}", "--wandb_project=mine"
    )
    assert "pip install 'kd_tfrs[wandb]'" in err


@pytest.fixture(scope="module")
def export_dir(tmp_path_factory):
    """An untrained model on integer ids, exported."""
    from kd_tfrs.export import export_saved_model
    from kd_tfrs.workflow.retrieval import measure
    from kd_tfrs.workflow.retrieval.builders import build_model
    from kd_tfrs.workflow.retrieval.prepare import prepare

    config = Config(data=DataConfig(num_events=300))
    prepared = prepare(config.data, config.evaluation, 0)
    encoded = prepared.encode(config.student_towers)
    model = build_model(encoded, config.student_towers, config.student, 1)
    embedded = measure.embed(model, encoded, prepared)
    module = measure.serving_module(embedded, prepared, 10)
    base = tmp_path_factory.mktemp("export") / "retrieval"
    export_saved_model(module, base, items=prepared.catalogue.items)
    return base


RECOMMEND = {
    "no user": ([], ["--user_id"]),
    "a user in words": (["--user_id=anna"], ["anna", "integer"]),
    "an item in words": (
        ["--user_id=1", "--item_ids=1,two"],
        ["two", "integer"],
    ),
    "an unknown item": (
        ["--user_id=1", "--item_ids=999999"],
        ["--item_ids", "999999"],
    ),
    "nothing to exclude": (
        ["--user_id=1", "--exclude=x"],
        ["x", "integer"],
    ),
    "no line": (["--user_id=1", "--k=0"], ["--k=0", "positive"]),
    "no history": (
        ["--user_id=1", "--history=3"],
        ["--history", "flags.json"],
    ),
}


@pytest.mark.parametrize("case", RECOMMEND)
def test_recommend(case, mistake, export_dir):
    args, words = RECOMMEND[case]
    err = mistake(recommend, f"--export_dir={export_dir}", *args)
    for word in words:
        assert word in err


def test_recommend_without_an_export(mistake, tmp_path):
    err = mistake(recommend, "--user_id=1")
    assert "--export_dir" in err
    err = mistake(recommend, "--user_id=1", f"--export_dir={tmp_path}")
    assert str(tmp_path) in err
    assert "saved_model.pb" in err


@pytest.mark.parametrize("kept", [0, 1000])
def test_recommend_from_a_broken_export(kept, mistake, export_dir, tmp_path):
    broken = tmp_path / "1"
    broken.mkdir()
    whole = (export_dir / "1" / "saved_model.pb").read_bytes()
    (broken / "saved_model.pb").write_bytes(whole[:kept])
    err = mistake(recommend, "--user_id=1", f"--export_dir={tmp_path}")
    assert str(broken) in err


COMMANDS = {
    "distill.py": (["--dataset={path}"], ["a.csv", "semicolons"]),
    "tune.py": (
        ["--dataset={path}", "--run_dir={run_dir}"],
        ["a.csv", "semicolons"],
    ),
}


def test_real_commands(scripts, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(events().replace(",", ";"))
    places = {"path": path, "run_dir": tmp_path / "tuning"}
    environment = {k: v for k, v in os.environ.items() if "TF_" not in k}
    # All at once: most of their time goes into imports.
    started = {
        name: subprocess.Popen(
            [
                sys.executable,
                str(scripts / name),
                *(arg.format(**places) for arg in args),
            ],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, (args, _) in COMMANDS.items()
    }
    for name, process in started.items():
        out, err = process.communicate(timeout=300)
        check_one_line(process.returncode, err)
        assert not out
        for word in COMMANDS[name][1]:
            assert word in err
