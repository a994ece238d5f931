"""One tiny ranking run on a ratings file, run once for all tests."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kd_tfrs.workflow.ranking import boosting
from kd_tfrs.workflow.ranking.config import RankingConfig
from kd_tfrs.workflow.ranking.experiment import run_experiment

SEED = 3
# A run of seconds, by flag.
TINY = {
    "history_length": 2,
    "tasks": ["liked"],
    "teacher_networks": ["dcn", "dnn"],
    "teacher_embedding_dim": 4,
    "teacher_hidden_units": [8],
    "teacher_cross_layers": 1,
    "teacher_epochs": 2,
    "teacher_batch_size": 256,
    "student_embedding_dim": 2,
    "student_hidden_units": [4],
    # TFMOT takes seconds for every embedding.
    "student_features": "ids",
    "student_epochs": 2,
    "student_batch_size": 256,
    "distilled_epochs": 2,
    "distilled_batch_size": 256,
    "distilled_negative_rate": 0.5,
    "distilled_learning_rate": 0.003,
    "distilled_decay": "constant",
    "distillation_losses": ["binary_soft_targets:0.8"],
    "distillation_student_loss_weight": 0.2,
    "pruning_epochs": 1,
    "eval_candidates": 20,
    "eval_latency_repeats": 2,
    "eval_latency_seconds": 0.1,
    "eval_bootstrap": 20,
}


def ratings(num_events=1200, num_users=40, num_items=60, seed=5):
    """Ratings from 1 to 5 that lean on the user and on the item."""
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(num_users * num_items)[:num_events]
    users, items = pairs // num_items, pairs % num_items
    taste = (
        rng.normal(size=num_users)[users] + rng.normal(size=num_items)[items]
    )
    rating = np.clip(np.round(3.4 + taste + rng.normal(size=num_events)), 1, 5)
    return pd.DataFrame(
        {
            "user_id": [f"u{i}" for i in users],
            "item_id": items,
            "rating": rating,
            "timestamp": 1_000_000 + 3600 * np.arange(num_events),
        }
    )


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run that is over.

    Args:
        found: what `run_experiment` returned.
        config: what was asked for.
        directory: the run folder as the run left it.
        said: lines for a person.
    """

    found: dict
    config: RankingConfig
    directory: Path
    said: list

    def row(self, stage):
        rows = [*self.found["baselines"], *self.found["stages"]]
        return next(r for r in rows if r["stage"] == stage)

    def copy(self, directory):
        """A folder of its own, for tests that go on with the run."""
        shutil.copytree(self.directory, directory)
        return directory


@pytest.fixture(scope="session")
def ratings_file(tmp_path_factory):
    """A file of one's own."""
    path = tmp_path_factory.mktemp("raw") / "ratings.csv"
    ratings().to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def tiny(ratings_file):
    """A configuration; `changes` replace flags."""

    def make(**changes):
        flat = {**TINY, "seed": SEED, "dataset": str(ratings_file)}
        return RankingConfig.from_flat({**flat, **changes})

    return make


@pytest.fixture(scope="session")
def finished(tiny, tmp_path_factory):
    """All stages of one seed."""
    directory = tmp_path_factory.mktemp("finished") / "run"
    config, said = tiny(), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boosting, "_ROUNDS", 10)
        found = run_experiment(config, directory, say=said.append)
    return Finished(found, config, directory, said)
