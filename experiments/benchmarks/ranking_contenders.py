"""Scores the candidates of one user in every form of a run's rankers."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import kd_tfrs  # noqa: F401  before TensorFlow: it chooses Keras 2

# isort: split
import numpy as np
import tensorflow as tf

from kd_tfrs.data.schema import Owner
from kd_tfrs.evaluation import size_bytes
from kd_tfrs.export.litert import ITEM_ROW, LiteRtRunner, to_litert
from kd_tfrs.export.ranking.client import SavedModelRanker
from kd_tfrs.export.signature_functions import concrete
from kd_tfrs.models.one_user import OneUserCatalogue, OneUserNetwork
from kd_tfrs.workflow.ranking import exporting, measure
from kd_tfrs.workflow.ranking.stages import RankingStages

Arrays = dict[str, np.ndarray]
_STUDENTS = ("student", "distilled", "pruned")
_CALIBRATION_ROWS = 500


@dataclasses.dataclass(frozen=True)
class Contender:
    """One way to score the candidates.

    Args:
        name: name of the stage and its form.
        call: scores them; returns what a client would get.
        sent: a description of the inputs.
        parameters: number of trained parameters.
        bytes: size of its file or folder; `None` if it is not a file.
        difference: largest one of its logits from those of the network with
            the user's row repeated; `None` where it answers with a list.
    """

    name: str
    call: Callable[[], Any]
    sent: str
    parameters: int
    bytes: int | None = None
    difference: float | None = None


class Contest:
    """Makes the contenders of a finished run, all for one request.

    Args:
        stages: of the run.
        candidates: scored by each call.
        top_k: answers of the SavedModel's `rank`.
    """

    def __init__(
        self, stages: RankingStages, candidates: int, top_k: int
    ) -> None:
        self.stages, self.prepared = stages, stages.prepared
        self.learner, self.top_k = stages.learner, top_k
        self.candidates = candidates
        self.task = self.prepared.task
        self.made: list[Contender] = []

    def make(self) -> list[Contender]:
        """All contenders, the teacher first."""
        teacher_factory = self.learner.teacher_factory
        self._network(
            "teacher", teacher_factory.live.outputs, teacher_factory.names
        )
        for stage in self.learner.members:
            self._stage(stage)
        for stage in _STUDENTS:
            if stage in self.stages.names:
                self._stage(stage)
        self._litert("pruned", "float32")
        self._litert("pruned", "int8")
        self._saved_model("pruned")
        return self.made

    def _stage(self, stage: str) -> None:
        """A network as it is, and with its user computed once."""
        model = self.learner.load(stage)
        names = self.learner.inputs(stage).names
        wanted = self._network(stage, model, names)
        fast = OneUserNetwork(
            model.network, self._users(names), [self.task.output]
        )
        user, items = self._request(names)
        rows = np.arange(self.candidates, dtype=np.int32)
        catalogue = OneUserCatalogue(fast, items)
        self._add_tf(
            f"{stage}, user once",
            lambda x: fast(x, x),
            {**user, **items},
            "the user's encoded row, the items' encoded rows",
            wanted,
        )
        self._add_tf(
            f"{stage}, items known",
            lambda x: catalogue(x, x["row"]),
            {**user, "row": rows},
            "the user's encoded row, row numbers of items",
            wanted,
        )

    def _network(
        self, name: str, call: Callable, names: tuple[str, ...]
    ) -> np.ndarray:
        sent = measure.request(self.prepared, names, self.candidates)
        return self._add_tf(
            name, lambda x: call({"features": x}), sent, "encoded rows", None
        )

    def _add_tf(
        self,
        name: str,
        call: Callable,
        sent: Arrays,
        what: str,
        wanted: np.ndarray | None,
    ) -> np.ndarray:
        """A TensorFlow function of arrays, shapes fixed."""
        output = self.task.output
        serve = concrete(
            lambda x: {output: call(x)[output]},
            {k: tf.TensorSpec(v.shape, v.dtype) for k, v in sent.items()},
        )

        def call() -> np.ndarray:
            return serve(*map(tf.constant, sent.values()))[output].numpy()

        return self._add(name, call, what, name.split(",")[0], wanted=wanted)

    def _add(
        self,
        name: str,
        call: Callable[[], np.ndarray],
        what: str,
        stage: str,
        size: int | None = None,
        wanted: np.ndarray | None = None,
    ) -> np.ndarray:
        found, apart = call(), None
        if wanted is not None:
            apart = float(np.abs(found - wanted).max())
        count = self.stages.result(stage)["parameters"]
        self.made.append(Contender(name, call, what, count, size, apart))
        return found

    def _litert(self, stage: str, mode: str) -> None:
        """A file for rows, and one of a user and as many candidates."""
        names = self.learner.inputs(stage).names
        network = self.learner.load(stage).network
        tables = self.prepared.tables["train"]
        some = np.random.default_rng(0).permutation(
            len(self.prepared.split.train)
        )[:_CALIBRATION_ROWS]
        rows = {n: tables[n][some] for n in names} if mode == "int8" else None
        whole = measure.request(self.prepared, names, self.candidates)
        wanted = network(whole)[self.task.output].numpy()
        user, items = self._request(names)
        once = {
            "user_inputs": list(user),
            "candidates": self.candidates,
        }
        known = {
            **user,
            ITEM_ROW: np.arange(self.candidates, dtype=np.int32),
        }
        for form, options, sent, what in (
            ("", {}, whole, "encoded rows"),
            (", user once", once, {**user, **items}, "one user, items' rows"),
            (
                ", items known",
                {**once, "catalogue": items},
                known,
                "one user, row numbers",
            ),
        ):
            content = to_litert(network, mode, rows, **options)
            runner = LiteRtRunner(content)
            self._add(
                f"{stage}, LiteRT {mode}{form}",
                lambda r=runner, x=sent: r.predict(x)[self.task.output],
                what,
                stage,
                len(content),
                wanted,
            )

    def _saved_model(self, stage: str) -> None:
        """Exports the model again, with the present code."""
        model, inputs = self.learner.load(stage), self.learner.inputs(stage)
        tables = exporting.serving_tables(self.prepared)
        with tempfile.TemporaryDirectory() as folder:
            path = exporting.export_model(
                model, self.prepared, inputs, folder, tables
            )
            size, ranker = size_bytes(path), SavedModelRanker(path)
        test = self.prepared.split.test
        some = test.take(np.resize(np.arange(len(test)), self.candidates))
        sent = ranker.requests(some.table, some.history)
        self._signature(ranker, "serving_default", sent, stage, size)
        if tables is not None:
            request = exporting.rank_requests(
                self.prepared, 1, self.candidates, self.top_k
            )[0]
            sent = ranker.rank_request(*request)
            self._signature(ranker, "rank", sent, stage, size)

    def _signature(
        self,
        ranker: SavedModelRanker,
        name: str,
        sent: Mapping[str, np.ndarray],
        stage: str,
        size: int,
    ) -> None:
        serve = ranker.signatures[name]

        def call() -> list[np.ndarray]:
            found = serve(**{k: tf.constant(v) for k, v in sent.items()})
            return [x.numpy() for x in found.values()]

        what = "raw ids, sorted ids out" if name == "rank" else "raw columns"
        self._add(f"{stage}, SavedModel {name}", call, what, stage, size)

    def _users(self, names: tuple[str, ...]) -> list[str]:
        owners = self.prepared.owners
        return [n for n in names if owners[n] is not Owner.ITEM]

    def _request(self, names: tuple[str, ...]) -> tuple[Arrays, Arrays]:
        """The same request, the user's side as one row."""
        whole = measure.request(self.prepared, names, self.candidates)
        users = self._users(names)
        return (
            {n: whole[n][:1] for n in users},
            {n: x for n, x in whole.items() if n not in users},
        )


def load_stages(path: Path, config: Any) -> RankingStages:
    """The stages of a run folder, without writing to it.

    Args:
        path: of the run.
        config: its options.

    Returns:
        The stages; a missing stage would be trained.
    """
    from kd_tfrs.workflow.run import Run

    return RankingStages(Run(path, config, log=False))


def measure_calls(
    contenders: list[Contender], repeats: int, calls: int, warmup: int
) -> dict[str, list[float]]:
    """Times the calls of every contender in turns.

    Args:
        contenders: of different names.
        repeats: turns of each.
        calls: measured calls of a turn.
        warmup: calls at the start of a turn that are not measured.

    Returns:
        Milliseconds of every call by name.
    """
    rng = np.random.default_rng(0)
    times: dict[str, list[float]] = {c.name: [] for c in contenders}
    for _ in range(repeats):
        for at in rng.permutation(len(contenders)):
            one = contenders[at]
            for number in range(warmup + calls):
                start = time.perf_counter()
                one.call()
                elapsed = time.perf_counter() - start
                if number >= warmup:
                    times[one.name].append(1e3 * elapsed)
    return times
