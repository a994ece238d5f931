r"""Compares the export of a finished run with its Keras model by value.

The Keras model of the form that ships, the exported SavedModel, and
TensorFlow's C library on the same folder (as TensorFlow Serving uses it) rank
the catalogue for real test users. To copy:

    python experiments/parity.py --run_dir=runs/first

Ends with an error when a score differs by more than --tolerance.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

sys.path.insert(0, os.path.dirname(__file__))
import console

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.retrieval.config import Config
from kd_tfrs.workflow.run import Run, check_run_folder, read_json

if TYPE_CHECKING:
    from kd_tfrs.evaluation.retrieval import Scorer
    from kd_tfrs.workflow.retrieval.stages import Stages

FLAGS = flags.FLAGS
flags.DEFINE_string("run_dir", None, "A finished run of distill.py.")
flags.DEFINE_integer("users", 200, "Number of test users.", 1)
flags.DEFINE_integer("k", 100, "Length of the lists.", 1)
flags.DEFINE_float("tolerance", 1e-4, "Largest difference of scores.", 0.0)
GROUPS = {"Parity": ["run_dir", "users", "k", "tolerance"]}
_SEED = 0


class CScorer:
    """The C library as a scorer on raw ids, nothing excluded."""

    def __init__(self, path: Path) -> None:
        from kd_tfrs.export import CSavedModel

        self._model = CSavedModel(path)

    def recommend(
        self, queries: np.ndarray, k: int, exclude: Any = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Scorer.recommend`; `exclude` has to be None."""
        from kd_tfrs.evaluation.ids import as_ids

        if exclude is not None:
            raise ValueError("Parity is measured without exclusions.")
        found = self._model.run(
            "recommend",
            {"user_id": queries, "k": k, "exclude": [[]] * len(queries)},
        )
        return as_ids(found["item_id"]), found["score"]

    def score(self, queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """See `Scorer.score`."""
        inputs = {"user_id": queries, "item_id": candidates}
        return self._model.run("score", inputs)["score"]


def finished_run(run_dir: str | None) -> Path:
    """The folder of a run that has exported its model."""
    if run_dir is None:
        raise UserError(
            "`--run_dir` should name a finished run. Received: none. Give "
            "the folder that experiments/distill.py wrote."
        )
    folder = Path(run_dir)
    # Checked before the run is opened, which would create the folder.
    if not (folder / "stages" / "saved_model.json").is_file():
        raise UserError(
            "`--run_dir` should be a run that is finished, its export "
            f"included. Received: {folder}. Run experiments/distill.py "
            f"--run_dir={folder} to the end first."
        )
    return folder


def scorers(stages: Stages) -> dict[str, Scorer]:
    """The same model three times, by name."""
    from kd_tfrs.evaluation.retrieval import SavedModelScorer

    prepared = stages.prepared
    embedded = stages.embedded("saved_model")
    loaded = SavedModelScorer(stages.run.path("export", "retrieval"))
    return {
        "Keras model": embedded.scorer(prepared),
        "SavedModel": loaded,
        "C library": CScorer(loaded.path),
    }


def run() -> list[dict[str, Any]]:
    """Compares the scorers; returns the rows of the table."""
    # Imports pandas, for which --help does not wait.
    from kd_tfrs.workflow.retrieval.loading import check_data

    folder = finished_run(FLAGS.run_dir)
    config = Config.from_flat(read_json(folder / "flags.json"))
    check_data(config.data)
    check_run_folder(folder, config)
    with console.quiet_imports():
        from kd_tfrs.export.retrieval import compare_scorers
        from kd_tfrs.workflow.retrieval.stages import Stages
    logging.getLogger("kd_tfrs").propagate = False
    stages = Stages(Run(folder, config))
    known = stages.prepared.test.users
    users = np.random.default_rng(_SEED).permutation(known)[: FLAGS.users]
    k = min(FLAGS.k, stages.prepared.catalogue.num_items)
    by_name = scorers(stages)
    rows = []
    names = ("Keras model", "SavedModel", "C library")
    for i, j in ((0, 1), (0, 2), (1, 2)):
        parity = compare_scorers(by_name[names[i]], by_name[names[j]], users, k)
        pair = {"reference": names[i], "compared": names[j]}
        rows.append({**pair, **dataclasses.asdict(parity)})
    _print(rows)
    worst = max(row["max_score_difference"] for row in rows)
    if worst > FLAGS.tolerance:
        raise UserError(
            f"Scores should agree within --tolerance={FLAGS.tolerance:g}. "
            f"Received: a difference of {worst:.3g}. Export the run again."
        )
    return rows


def _print(rows: list[dict[str, Any]]) -> None:
    print(f"{rows[0]['users']} test users, top {rows[0]['k']}")
    print(f"{'compared':28}{'identical lists':>17}{'largest difference':>21}")
    for row in rows:
        pair = f"{row['reference']} / {row['compared']}"
        print(
            f"{pair:28}{row['identical_lists']:>17.1%}"
            f"{row['max_score_difference']:>21.2e}"
        )


if __name__ == "__main__":
    console.main(run, GROUPS, __doc__)
