"""Pruning to ascending sparsities, stopped between two of them."""

import dataclasses
import shutil

import numpy as np
import pytest

from kd_tfrs.compression import sparsity
from kd_tfrs.workflow.retrieval.learner import Learner
from kd_tfrs.workflow.retrieval.prepare import prepare
from kd_tfrs.workflow.run import Run
from kd_tfrs.workflow.training import get_weights

SPARSITIES, EPOCHS = (0.3, 0.6), 2


class KilledError(Exception):
    """Stands for a process that ends here."""


@pytest.fixture(scope="module")
def prepared(finished):
    config = finished.config
    return prepare(config.data, config.evaluation, config.seed)


@pytest.fixture
def learner_in(finished, prepared, tmp_path):
    """Learners in folders with the finished run's distilled student."""
    runs = []

    def build(name, max_loss=1.0):
        config = dataclasses.replace(
            finished.config,
            pruning=dataclasses.replace(
                finished.config.pruning, sparsities=SPARSITIES, epochs=EPOCHS
            ),
            shipping=dataclasses.replace(
                finished.config.shipping, max_loss=max_loss
            ),
        )
        for run in runs:
            run.close()
        runs.append(Run(tmp_path / name, config))
        for stage in ("teacher", "distilled"):
            path = runs[-1].path("weights", f"{stage}.npz")
            shutil.copy(finished.directory / "weights" / path.name, path)
        return Learner(runs[-1], prepared)

    yield build
    for run in runs:
        run.close()


def kill_after(count):
    """Ends a training after so many epochs, before the next one is kept."""
    left = [count]

    def watch(metrics):
        if not left[0]:
            raise KilledError
        left[0] -= 1

    return watch


def test_a_kill_between_two_levels_changes_nothing(learner_in, monkeypatch):
    # Few users: the margin of a loss would exceed any limit.
    monkeypatch.setattr("kd_tfrs.workflow.learner.loss_margin", lambda *_: 0.0)
    learner = learner_in("unbroken")
    model, progress = learner.train("pruned")
    assert [row["epoch"] for row in progress.history] == [1, 2, 3, 4]
    assert sparsity(model.query_tower) == pytest.approx(0.6, abs=0.02)

    killed = learner_in("killed")
    with pytest.raises(KilledError):
        # In the second epoch of the second level.
        killed.train("pruned", kill_after(EPOCHS + 1))
    assert killed.run.path("training", "pruned_0.6", "checkpoints").exists()
    seen = []
    again, continued = learner_in("killed").train("pruned", seen.append)

    assert len(seen) == 1, "the first level and an epoch were there already"
    for one, other in zip(*map(get_weights, (model, again)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert continued.history == progress.history


@pytest.mark.parametrize(
    ("max_loss", "tried"), [(0.01, ["0.3", "0.6"]), (0.001, ["0.3"])]
)
def test_pruning_ends_at_the_first_level_that_loses_too_much(
    learner_in, monkeypatch, max_loss, tried
):
    def validation_values(self, stage, model):
        # 1, .995 and .97: losses of 0, .5 % and 3 %, by what is pruned.
        zeros = sparsity(model.query_tower)
        value = 1.0 if zeros < 0.2 else 0.995 if zeros < 0.45 else 0.97
        return np.full(5, value)

    monkeypatch.setattr(Learner, "validation_values", validation_values)
    learner = learner_in("limited", max_loss)

    model, _ = learner.train("pruned")

    # Within 1 % is the first level; within .1 % none, and the first is left.
    assert sparsity(model.query_tower) == pytest.approx(0.3, abs=0.02)
    folders = learner.run.path("training", "any").parent.glob("pruned_*")
    assert sorted(f.name for f in folders) == [f"pruned_{s}" for s in tried]
