"""Training in a room of its own: epochs, patience, and going on."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.models import LazyAdam
from kd_tfrs.testing.retrieval import tiny_world
from kd_tfrs.workflow.training import (
    Guard,
    Progress,
    Training,
    get_weights,
    joined,
)


class KilledError(Exception):
    """Stands for kill -9: nothing after it is done."""


@pytest.fixture(scope="module")
def world():
    return tiny_world()


class Fit:
    """One training of a tiny model with dropout, in a folder."""

    def __init__(self, world, directory, monitor="ndcg@20", every=1):
        tf.keras.utils.set_random_seed(5)
        self.world = world
        self.asked = []
        self.model = world.model(dropout=0.5)
        # Eagerly: tracing a graph would take longer than the training.
        self.model.compile(optimizer=LazyAdam(0.05), run_eagerly=True)
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.training = Training(
            self.model, self.model, directory, monitor, "tiny", every
        )

    def run(self, values, epochs=4, patience=9):
        """`values` are what the validations say, or a `KilledError`."""
        told = iter(values)

        def validate():
            value = next(told)
            if value is KilledError:
                raise KilledError
            self.asked.append(self.training.progress.epoch + 1)
            return {"ndcg@20": value}

        return self.training.fit(
            self.world.batches(seed=1),
            validate,
            epochs=epochs,
            patience=patience,
        )


RISING = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


def losses(progress):
    return [row["loss"] for row in progress.history]


def test_a_killed_training_goes_on_as_if_it_were_not(world, tmp_path):
    done = 2
    unbroken = Fit(world, tmp_path / "unbroken")
    whole = unbroken.run(RISING)
    with pytest.raises(KilledError):
        Fit(world, tmp_path / "killed").run((*RISING[:done], KilledError))
    again = Fit(world, tmp_path / "killed")
    rest = again.run(RISING[done:])
    assert again.asked == list(range(done + 1, 5))
    assert losses(rest) == losses(whole)
    for mine, theirs in zip(
        get_weights(again.model), get_weights(unbroken.model), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_the_best_epoch_is_kept(world, tmp_path):
    fit = Fit(world, tmp_path / "run")
    seen = []

    def values():
        for value in (0.1, 0.4, 0.3, 0.2):
            seen.append(get_weights(fit.model))
            yield value

    progress = fit.run(values())
    assert progress.best_epoch == 2
    assert progress.best == 0.4
    for kept, best in zip(get_weights(fit.model), seen[1], strict=True):
        np.testing.assert_array_equal(kept, best)
    assert [p.name for p in fit.directory.glob("best-*")] == ["best-00002.npz"]


def test_without_a_monitor_the_last_epoch_is_kept(world, tmp_path):
    fit = Fit(world, tmp_path / "run", monitor=None)
    progress = fit.run((0.4, 0.3, 0.2, 0.1))
    assert progress.best_epoch == progress.epoch == 4
    assert not list(fit.directory.glob("best-*"))


def test_patience_ends_it_and_again_after_a_kill(world, tmp_path):
    values = (0.1, 0.3, 0.2, 0.2)
    first = Fit(world, tmp_path / "run").run(values, epochs=9, patience=2)
    assert first.epoch == 4
    assert first.best_epoch == 2
    again = Fit(world, tmp_path / "run")
    progress = again.run((), epochs=9, patience=2)
    assert progress.epoch == 4
    assert not again.asked


def test_validate_every_asks_then_and_at_the_last(world, tmp_path):
    fit = Fit(world, tmp_path / "run", every=2)
    progress = fit.run(RISING, epochs=5)
    assert fit.asked == [2, 4, 5]
    validated = [r["epoch"] for r in progress.history if "ndcg@20" in r]
    assert validated == [2, 4, 5]
    assert len(progress.history) == 5
    assert progress.best_epoch == 5
    (path,) = (fit.directory / "tensorboard").glob("events.out.tfevents.*")
    tags = {
        value.tag
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }
    assert {"loss", "ndcg@20"} <= tags


GUARDED = (
    # Validation metric, error, and whether the epoch is the best so far.
    ((0.1, 0.50), True),
    # Better, and the error is 2 % above the lowest.
    ((0.2, 0.51), True),
    # Better still, and the error is 10 % above.
    ((0.3, 0.55), False),
    # Worse, but the best one so far is now 27.5 % above the lowest.
    ((0.15, 0.40), True),
    ((0.16, 0.41), True),
    ((0.9, 0.45), False),
)


def test_that_an_error_may_not_rise_while_the_metric_improves(tmp_path, world):
    guard = Guard("log_loss", 0.025)
    fit = Fit(world, tmp_path / "guarded")
    fit.training.guard = guard
    best = []
    for (value, error), _ in GUARDED:
        fit.training.end_epoch({"ndcg@20": value, "log_loss": error}, 1.0)
        best.append(fit.training.progress.best_epoch)
    expected, last = [], 0
    for epoch, (_, is_best) in enumerate(GUARDED, 1):
        last = epoch if is_best else last
        expected.append(last)
    assert best == expected
    assert fit.training.progress.best == 0.16


def test_that_epochs_without_a_validation_are_passed_over():
    rows = [{"log_loss": 0.4}, {"loss": 1.0}, {"log_loss": 0.5}]
    guard = Guard("log_loss", 0.1)
    assert guard.allows(rows[1], rows)
    assert not guard.allows(rows[2], rows)
    assert guard.allows({}, [])


def test_trainings_one_after_the_other_are_joined():
    one = Progress(2, 1, 0.3, 5.0, [{"epoch": 1, "a": 7}, {"epoch": 2, "a": 8}])
    other = Progress(3, 2, 0.2, 4.5, [{"epoch": i, "a": i} for i in (1, 2, 3)])

    found = joined([one, other])

    # Two epochs and three; the best is the second of the last training,
    # whose model is kept, although the first one had a better value.
    assert (found.epoch, found.best_epoch, found.best) == (5, 4, 0.2)
    assert found.seconds == 9.5
    assert [row["epoch"] for row in found.history] == [1, 2, 3, 4, 5]
    assert [row["a"] for row in found.history] == [7, 8, 1, 2, 3]
    assert joined([one]) == one
    assert other.history[0]["epoch"] == 1, "what was given stays as it was"
