"""The teacher: the trained networks, one or several, live or cached."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from kd_tfrs.distillation.ranking import (
    CachedTeacher,
    GatedRankingEnsemble,
    NetworkTeacher,
    RankingEnsemble,
    RankingTeacher,
)
from kd_tfrs.models.ranking import RankingModel
from kd_tfrs.workflow.ranking.prepare import UNLABELLED, RankingPrepared
from kd_tfrs.workflow.run import Run

logger = logging.getLogger(__name__)
_LARGE_BYTES = 2**30


class RankingTeacherFactory:
    """The teacher of a run, made once.

    A gate is learned on the validation examples, which no member was trained
    on: what the ensemble reaches there is a little too good.

    Args:
        run: keeps the gate and the outputs of the teacher.
        prepared: data and tasks.
        names: of the features that its members see.
        load: makes the trained members.
        knowledge: folder of the run with the outputs of the teacher.

    Attributes:
        gate_seconds: what learning the gate took, where there is one.
    """

    def __init__(
        self,
        run: Run,
        prepared: RankingPrepared,
        names: tuple[str, ...],
        load: Callable[[], list[RankingModel]],
        knowledge: str = "knowledge",
    ) -> None:
        self.run = run
        self.prepared = prepared
        self.names = names
        self.gate_seconds = 0.0
        self._load = load
        self._knowledge = knowledge

    @cached_property
    def models(self) -> list[RankingModel]:
        """The members, trained."""
        return self._load()

    @cached_property
    def live(self) -> RankingTeacher:
        """The teacher that runs at every step."""
        gated = self.run.config.distillation.ensemble != "mean"
        if gated and len(self.models) > 1:
            return self._gated([NetworkTeacher(m) for m in self.models])
        return together(self.models)

    def outputs(self, further: Sequence[str] = ()) -> tuple[str, ...]:
        """Names of the cached outputs of the teacher."""
        logits = [task.output for task in self.prepared.tasks]
        return tuple(dict.fromkeys([*logits, *further]))

    def cached(self, part: str, outputs: tuple[str, ...]) -> CachedTeacher:
        """Outputs of the teacher for a part, read from disk if they exist.

        Args:
            part: "train", "unlabelled"; or "validation", of whose examples
                those that are scored while training.
            outputs: which are kept.

        Returns:
            A teacher of that part alone, by row.
        """
        folder = self.run.path(self._knowledge, part)
        there = {path.stem for path in folder.glob("[!.]*.npy")}
        if not set(outputs) <= there:
            rows = self.prepared.rows(part, self.names)
            if part == "validation":
                rows = self.prepared.validated(self.names)
            CachedTeacher.of(self.live, rows, outputs).save(folder)
        kept = CachedTeacher.load(folder).arrays
        return CachedTeacher({name: _in_memory(kept[name]) for name in outputs})

    def of_training(self, outputs: tuple[str, ...]) -> CachedTeacher:
        """Outputs of the teacher for the training rows of a student.

        Args:
            outputs: which.

        Returns:
            A teacher of the training rows and, after them, those without a
            label, where there are some; by row.
        """
        train = self.cached("train", outputs)
        if UNLABELLED not in self.prepared.tables:
            return train
        more = self.cached(UNLABELLED, outputs)
        return CachedTeacher(
            {
                name: np.concatenate([train.arrays[name], more.arrays[name]])
                for name in outputs
            }
        )

    def _gated(self, members: list[NetworkTeacher]) -> GatedRankingEnsemble:
        ensemble = GatedRankingEnsemble(members, self.prepared.tasks)
        layers = ensemble.checkpointed
        kept = self.run.load_weights("gate")
        if kept is None:
            rows = self.prepared.validated(self.names)
            start = time.perf_counter()
            found = ensemble.fit_gate(rows, seed=self.run.config.seed)
            self.gate_seconds = time.perf_counter() - start
            logger.info("gate, loss before and after: %s", found)
            weights = [w for layer in layers for w in layer.get_weights()]
            self.run.save_weights("gate", weights)
            return ensemble
        for layer in layers:
            count = len(layer.weights)
            layer.set_weights(kept[:count])
            kept = kept[count:]
        return ensemble


def together(models: Sequence[RankingModel]) -> RankingTeacher:
    """One network as it is, or the mean of several."""
    members = [NetworkTeacher(model) for model in models]
    return members[0] if len(members) == 1 else RankingEnsemble(members)


def _in_memory(array: np.ndarray) -> np.ndarray:
    """A memory-mapped array as a plain one, where it is not large."""
    return array if array.nbytes > _LARGE_BYTES else np.asarray(array)
