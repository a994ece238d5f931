"""Two runs whose models were never trained: what is asked is the same."""

import contextlib
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kd_tfrs.workflow.compression_options import stored_as
from kd_tfrs.workflow.learner import STUDENTS
from kd_tfrs.workflow.pipeline.config import PipelineConfig, PipelineOptions
from kd_tfrs.workflow.pipeline.experiment import run_pipeline
from kd_tfrs.workflow.pipeline.sides import RankingSide, RetrievalSide
from kd_tfrs.workflow.pipeline.stages import PipelineStages
from kd_tfrs.workflow.ranking import edge, exporting
from kd_tfrs.workflow.ranking.config import RankingConfig
from kd_tfrs.workflow.ranking.stages import RankingStages
from kd_tfrs.workflow.retrieval.config import Config
from kd_tfrs.workflow.retrieval.exporting import export_model
from kd_tfrs.workflow.retrieval.stages import Stages
from kd_tfrs.workflow.run import Run

RETRIEVED = 12
SHIPS_PRUNED = {"stage": "saved_model", "choice": {"name": "pruned"}}
RETRIEVAL = {
    "split": "time",
    "teacher_embedding_dim": 8,
    "student_embedding_dim": 4,
}
RANKING = {
    "split": "time",
    "history_length": 3,
    "teacher_networks": ["dcn", "dnn"],
    "teacher_embedding_dim": 4,
    "teacher_hidden_units": [8],
    "student_embedding_dim": 2,
    "student_hidden_units": [4],
    # Fast, and a student that is told nothing of the event.
    "student_features": "ids",
    "distillation_ensemble": "mean",
}


def ratings(num_users=30, num_items=40, num_events=500, seed=5):
    """Ratings from 1 to 5; the last users come late and have no past."""
    rng = np.random.default_rng(seed)
    early = rng.permutation((num_users - 3) * num_items)[: num_events - 30]
    late = (num_users - 3) * num_items + rng.permutation(3 * num_items)[:30]
    pairs = np.concatenate([early, late])
    return pd.DataFrame(
        {
            "user_id": pairs // num_items + 100,
            "item_id": pairs % num_items + 7,
            "rating": rng.integers(1, 6, num_events),
            "timestamp": 1_000_000 + 5000 * np.arange(num_events),
        }
    )


def make_retrieval(directory, config):
    with contextlib.closing(Run(directory, config)) as run:
        chain = Stages(run)
        learner = chain.learner
        for stage in ("teacher", *STUDENTS):
            learner.save(stage, learner.build(stage, 1))
            chain._keep({"stage": stage}, {}, [])
        export_model(
            learner.load("pruned"),
            chain.prepared,
            learner.encoded("pruned"),
            chain._export_folder("retrieval"),
            storage=stored_as("pruned")[1],
        )
        chain._keep(SHIPS_PRUNED, {}, [])


def make_ranking(directory, config, *, exports=True):
    with contextlib.closing(Run(directory, config)) as run:
        chain = RankingStages(run)
        learner, prepared = chain.learner, chain.prepared
        for stage in (*learner.teachers, *STUDENTS):
            learner.save(stage, learner.build(stage, 1))
            chain._keep({"stage": stage}, {}, [])
        chain._keep({"stage": "teacher"}, {}, [])
        if not exports:
            return
        inputs = learner.inputs("pruned")
        tables = exporting.serving_tables(prepared)
        model, folder = learner.load("pruned"), run.path("export", "ranking")
        exporting.export_model(model, prepared, inputs, folder, tables)
        chain._keep(SHIPS_PRUNED, {}, [])
        with contextlib.suppress(ImportError):
            import ai_edge_litert  # noqa: F401

            path = run.path("export", "litert", "student.tflite")
            edge.write_int8(model, prepared, inputs.names, path)
            chain._keep({"stage": "litert"}, {}, [])


@dataclasses.dataclass(frozen=True)
class World:
    """Two runs and what came of them.

    Args:
        base: holds `retrieval`, `ranking` and `both`.
        file: the ratings.
        found: what `run_pipeline` returned.
        said: lines for a person.
    """

    base: Path
    file: Path
    found: dict
    said: list

    def config(self, **changes):
        options = {
            "retrieval_run": str(self.base / "retrieval"),
            "ranking_run": str(self.base / "ranking"),
            "num_retrieved": RETRIEVED,
            "latency_repeats": 3,
        }
        return PipelineConfig(pipeline=PipelineOptions(**options | changes))

    @contextlib.contextmanager
    def chain(self, directory):
        """The pairs of a folder of their own."""
        with contextlib.ExitStack() as stack:
            sides = (
                RetrievalSide(self.base / "retrieval"),
                RankingSide(self.base / "ranking"),
            )
            for side in sides:
                stack.callback(side.close)
            run = Run(directory, self.config(), log=False)
            stack.callback(run.close)
            yield PipelineStages(run, *sides)

    def copy(self, directory):
        shutil.copytree(self.base / "both", directory)
        return directory


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    base = tmp_path_factory.mktemp("pipeline")
    file = base / "ratings.csv"
    ratings().to_csv(file, index=False)
    data = {"dataset": str(file)}
    make_retrieval(base / "retrieval", Config.from_flat(RETRIEVAL | data))
    make_ranking(base / "ranking", RankingConfig.from_flat(RANKING | data))
    world, said = World(base, file, {}, []), []
    found = run_pipeline(world.config(), base / "both", say=said.append)
    return World(base, file, found, said)
