"""Weights & Biases, offline: nothing leaves the machine."""

import sys

import pytest

from kd_tfrs.workflow.retrieval.config import Config
from kd_tfrs.workflow.tracking import Tracker

ROW = {
    "stage": "student",
    "metrics": {"ndcg@20": 0.25, "recall@10[new_users]": None},
    "parameters": 10,
    "nonzero_parameters": 9,
    "size_bytes": 1000,
}
HISTORY = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.5}]


def test_stages_are_logged_offline(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    tracker = Tracker("kd_tfrs", tmp_path / "run", Config(seed=4))
    tracker.log_stage(ROW, HISTORY)
    run = wandb.run
    assert run.config["seed"] == 4
    assert run.config["teacher_epochs"] == Config().teacher.epochs
    assert run.summary["student/test/ndcg@20"] == 0.25
    assert run.summary["student/parameters"] == 10
    assert run.summary["student/loss"] == 1.5
    assert "student/test/recall@10[new_users]" not in run.summary.keys()  # noqa: SIM118
    tracker.close()
    (folder,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    (log,) = folder.glob("*.wandb")
    assert log.stat().st_size > 0


def test_a_hint_where_it_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r"pip install 'kd_tfrs\[wandb\]'"):
        Tracker("kd_tfrs", tmp_path, Config())
