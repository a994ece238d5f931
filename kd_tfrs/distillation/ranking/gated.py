"""An ensemble with a gate that weights its members for every row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from kd_tfrs.distillation.losses.checks import check_count, check_number
from kd_tfrs.distillation.ranking.cached import OrderedBatches
from kd_tfrs.distillation.ranking.ensemble import RankingEnsemble, by_member
from kd_tfrs.distillation.ranking.gate import (
    GateRows,
    TeacherGate,
    gate_loss,
    train_gate,
)
from kd_tfrs.distillation.ranking.teachers import (
    Outputs,
    RankingBatch,
    RankingTeacher,
)
from kd_tfrs.errors import UserError


class Task(Protocol):
    """A head of a ranker, see `RankingTask`."""

    name: str
    kind: str
    output: str


class GatedRankingEnsemble(RankingEnsemble):
    r"""A mean of logits whose weights a gate chooses for each row and task.

    $$t_k = \sum_m g_{km} t_{km}, \qquad
    g_k = \mathrm{softmax}(W_k x + b_k)$$

    where $x$ are the logits of all members for all tasks and numeric features
    of the batch, each standardised. It starts as the plain mean.

    `fit_gate` trains the gate on labels, before the student. The paper trains
    it together with the student on the distillation loss, where it may prefer
    the teacher that is easiest to imitate to the one that is right. Give it
    rows that the members were not trained on, because a teacher is better on
    its training rows than on others.

    Args:
        teachers: two or more teachers with all tasks.
        tasks: tasks of the student, see `RankingModel.tasks`.
        features: names of numeric features, `[batch]`, which are inputs of
            the gate.

    Raises:
        UserError: a member lacks a task, or there is no task.

    Example:
    ```python
    teacher = GatedRankingEnsemble(teachers, student.tasks)
    teacher.fit_gate(validation_batches)
    ```

    References:
        Zhu et al. 2020, "Ensembled CTR Prediction via Knowledge
        Distillation" (a softmax gate over the teachers' answers, sample by
        sample). Ours: a gate for each task, features beside the answers, and
        training on labels.
    """

    def __init__(
        self,
        teachers: Sequence[RankingTeacher],
        tasks: Sequence[Task],
        features: Sequence[str] = (),
    ) -> None:
        super().__init__(teachers)
        self.tasks = tuple(tasks)
        self.features = tuple(features)
        _check_tasks(self.teachers, self.tasks)
        count = len(self.teachers)
        width = count * len(self.tasks) + len(self.features)
        self._gates = {
            task.name: TeacherGate(
                count, name=f"teacher_gate_{task.name}", dtype="float32"
            )
            for task in self.tasks
        }
        for gate in self._gates.values():
            gate.build(tf.TensorShape([None, width]))
        self._widths = {
            **{task.output: 1 for task in self.tasks},
            **{f"gate_{task.name}": count for task in self.tasks},
            **by_member([teacher.widths for teacher in self.teachers]),
        }

    @property
    def checkpointed(self) -> tuple[tf.keras.layers.Layer, ...]:
        """The gates."""
        return tuple(self._gates.values())

    def outputs(self, batch: RankingBatch) -> Outputs:
        """See `RankingTeacher.outputs`; with `gate_<task>` `[batch, n]`."""
        members = [teacher.outputs(batch) for teacher in self.teachers]
        logits = self._logits(members)
        inputs = self._inputs(logits, batch)
        outputs = {}
        for task in self.tasks:
            gate = tf.stop_gradient(self._gates[task.name](inputs))
            outputs[f"gate_{task.name}"] = gate
            outputs[task.output] = tf.reduce_sum(gate * logits[task.name], 1)
        return {**outputs, **by_member(members)}

    def fit_gate(
        self,
        batches: OrderedBatches,
        *,
        epochs: int = 20,
        learning_rate: float = 0.02,
        batch_size: int = 1024,
        evenness: float = 0.01,
        seed: int = 0,
        progress: bool = True,
    ) -> dict[str, tuple[float, float]]:
        r"""Trains the gates on labels. The members run over the rows once.

        Args:
            batches: rows that the members were not trained on.
            epochs: how often the gates see every row.
            learning_rate: step size of Adam.
            batch_size: rows a step.
            evenness: $\eta$, at least 0; keeps the weights close to equal.
            seed: of the order of rows.
            progress: show a progress bar.

        Returns:
            By task, the loss on these rows before and after, see `gate_loss`.

        Raises:
            UserError: a number is out of range, or a task has no labels.
        """
        check_count("epochs", epochs)
        check_count("batch_size", batch_size)
        check_number("evenness", evenness, 0.0)
        losses = {}
        for task, rows in self._gate_rows(batches, progress).items():
            gate = self._gates[task.name]
            before = gate_loss(gate(rows.inputs), rows, task.kind, evenness)
            train_gate(
                gate,
                rows,
                task.kind,
                epochs=epochs,
                learning_rate=learning_rate,
                batch_size=batch_size,
                evenness=evenness,
                seed=seed,
            )
            after = gate_loss(gate(rows.inputs), rows, task.kind, evenness)
            losses[task.name] = (float(before), float(after))
        return losses

    def _logits(self, members: Sequence[Outputs]) -> dict[str, tf.Tensor]:
        """`[batch, teachers]` logits of every task."""
        return {
            task.name: tf.stack([x[task.output] for x in members], axis=1)
            for task in self.tasks
        }

    def _inputs(
        self, logits: dict[str, tf.Tensor], batch: RankingBatch
    ) -> tf.Tensor:
        """Inputs of the gates, `[batch, width]`."""
        columns = list(logits.values())
        for name in self.features:
            if name not in batch["features"]:
                raise UserError(
                    "A batch should have the `features` of the gate. Received: "
                    f"no {name!r} among {sorted(batch['features'])}."
                )
            column = tf.cast(batch["features"][name], tf.float32)
            columns.append(column[:, None])
        return tf.concat(columns, axis=1)

    def _gate_rows(
        self, batches: OrderedBatches, progress: bool
    ) -> dict[Task, GateRows]:
        compute = tf.function(self._rows_of_batch, reduce_retracing=True)
        parts: list[dict[str, GateRows]] = []
        with tqdm(
            total=batches.num_rows,
            desc="gate",
            unit="row",
            disable=not progress,
        ) as bar:
            for batch in batches.in_order():
                parts.append(tf.nest.map_structure(np.asarray, compute(batch)))
                bar.update(len(batch["row"]))
        return {task: _joined(task.name, parts) for task in self.tasks}

    def _rows_of_batch(self, batch: RankingBatch) -> dict[str, GateRows]:
        members = [teacher.outputs(batch) for teacher in self.teachers]
        logits = self._logits(members)
        inputs = self._inputs(logits, batch)
        return {
            name: GateRows(
                inputs, values, batch["labels"][name], batch["weight"]
            )
            for name, values in logits.items()
        }


def _joined(task: str, parts: Sequence[Mapping[str, GateRows]]) -> GateRows:
    columns = zip(*(part[task] for part in parts), strict=True)
    rows = GateRows(*(np.concatenate(column) for column in columns)).labelled()
    if not len(rows.labels):
        raise UserError(
            f"A gate should have labels of task {task!r} to learn from. "
            "Received: no row with a label, a weight and an output of every "
            "teacher."
        )
    return rows


def _check_tasks(
    teachers: Sequence[RankingTeacher], tasks: Sequence[Task]
) -> None:
    if not tasks:
        raise UserError(
            "`tasks` should be one or more RankingTasks. Received: none. Give "
            "the student's `tasks`."
        )
    for teacher in teachers:
        for task in tasks:
            # Unknown outputs are checked when the teacher runs.
            if teacher.widths:
                teacher.width(task.output)
