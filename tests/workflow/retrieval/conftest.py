"""One tiny experiment on pseudonymised files, run once for all tests."""

import dataclasses
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from kd_tfrs.data.synthetic.interactions import generate
from kd_tfrs.workflow.retrieval.config import Config
from kd_tfrs.workflow.retrieval.experiment import run_experiment

TINY = Path(__file__).parents[2] / "tiny.json"
KEY = "a key that nobody else has"
SEED = 3


@dataclasses.dataclass(frozen=True)
class Finished:
    """A run that is over.

    Args:
        found: what `run_experiment` returned.
        config: what was asked for.
        directory: the run folder as the run left it.
        said: lines for a person.
        users: raw user ids, none of which may be written.
        items: raw item ids, likewise.
    """

    found: dict
    config: Config
    directory: Path
    said: list
    users: list
    items: list

    def row(self, stage):
        return next(r for r in self.found["stages"] if r["stage"] == stage)

    def copy(self, directory):
        """A folder of its own, for tests that go on with the run."""
        shutil.copytree(self.directory, directory)
        return directory


@pytest.fixture(scope="session")
def tiny():
    """Options of a run of seconds, by flag."""
    return json.loads(TINY.read_text())


@pytest.fixture(scope="session")
def raw_folder(tmp_path_factory):
    """Somebody's own files, with ids that are easy to find again."""
    folder = tmp_path_factory.mktemp("raw")
    events, users, items = generate(num_events=1500, seed=5)
    for table in (events, users, items):
        for column, word in (("user_id", "customer"), ("item_id", "article")):
            if column in table:
                table[column] = [f"{word}-{i:06d}" for i in table[column]]
    events.to_csv(folder / "events.csv", index=False)
    users.to_csv(folder / "users.csv", index=False)
    items.to_csv(folder / "items.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def finished(tiny, raw_folder, tmp_path_factory):
    """All stages of one seed."""
    base = tmp_path_factory.mktemp("finished")
    key_file = base / "pseudonym.key"
    key_file.write_text(KEY)
    config = Config.from_flat(
        {
            **tiny,
            "seed": SEED,
            "dataset": str(raw_folder),
            "pseudonym_key_file": str(key_file),
            "eval_sampled_negatives": 20,
        }
    )
    said = []
    found = run_experiment(config, base / f"seed-{SEED}", say=said.append)
    events = pd.read_csv(raw_folder / "events.csv")
    return Finished(
        found,
        config,
        base / f"seed-{SEED}",
        said,
        sorted(set(events["user_id"])),
        sorted(set(events["item_id"])),
    )
