"""Networks that many small rankers of one comparison learn from."""

from __future__ import annotations

import logging
from typing import Any, ClassVar

import tensorflow as tf

from kd_tfrs.workflow.ranking.learner import RankingLearner
from kd_tfrs.workflow.ranking.naming import member_stages
from kd_tfrs.workflow.ranking.prepare import RankingPrepared
from kd_tfrs.workflow.retrieval.shared_teachers import SharedTeachers
from kd_tfrs.workflow.run import Run

logger = logging.getLogger(__name__)


class RankingTeachers(SharedTeachers):
    """Trains the networks that teach once a seed, or takes those of a run.

    What they say of training and validation examples is kept beside them, and
    so is their gate.

    Args:
        directory: holds a folder a seed.
        config: of the comparison.
        source: holds finished ranking runs, `seed-<k>` each, whose networks
            are taken; `None` to train them.

    Example:
    ```python
    teachers = RankingTeachers(Path("runs/mine/teachers"), config)
    teachers.get(prepared, seed=0)
    ```
    """

    kinds: ClassVar[tuple[str, ...]] = ("teacher", "gate")
    taken: ClassVar[tuple[str, ...]] = ("teacher", "gate")
    learner_type: ClassVar[type] = RankingLearner

    @property
    def networks(self) -> tuple[str, ...]:
        """See `SharedTeachers.networks`."""
        return tuple(member_stages(self.config))

    def costs(self, seed: int) -> dict[str, dict[str, Any]]:
        """What the training of each network took, as far as it is known.

        Args:
            seed: of the teachers.

        Returns:
            "train_seconds" and "epochs" by name.
        """
        run = self._run(seed)
        try:
            return {
                n: run.read_json(_cost_file(n)) or {} for n in self.networks
            }
        finally:
            run.close()

    def _train(self, run: Run, prepared: RankingPrepared) -> None:
        for name in self.networks:
            if run.load_weights(name) is None:
                self._train_one(name, run, prepared)
        costs = [run.read_json(_cost_file(name)) for name in self.networks]
        cost = {
            "train_seconds": sum(one["train_seconds"] for one in costs),
            "epochs": max(one["epochs"] for one in costs),
        }
        run.write_json("cost.json", cost)

    def _train_one(
        self, name: str, run: Run, prepared: RankingPrepared
    ) -> None:
        tf.keras.backend.clear_session()
        learner = RankingLearner(run, prepared)
        logger.info("%s of seed %d", name, run.config.seed)
        model, progress = learner.train(name)
        cost = {
            "train_seconds": progress.seconds,
            "epochs": progress.epoch,
            "best_epoch": progress.best_epoch,
        }
        run.write_json(_cost_file(name), cost)
        learner.save(name, model)


def _cost_file(name: str) -> str:
    return f"cost-{name}.json"
