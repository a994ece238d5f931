"""The ranking model, on TFRS's own ranking task."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
import tensorflow_recommenders as tfrs

from kd_tfrs.errors import UserError
from kd_tfrs.models.ranking.task import RankingTask

Outputs = dict[str, tf.Tensor]


class RankingModel(tfrs.Model):
    r"""A network with one head for each task, trained by their labels.

    $$L = \sum_t \lambda_t \frac{\sum_{i \in K_t} w_i
    l_t(z_{ti}, y_{ti})}{\sum_{i \in K_t} w_i}$$

    with the weight $\lambda_t$ of a task, the weight $w_i$ of a row and the
    rows $K_t$ whose label of the task is known.

    Args:
        network: Functional Keras model from a dict of features to a dict of
            outputs, `logits_<task>` (`[batch]`) for each task among them; see
            `build_ranker`.
        tasks: one or more.
        name: name of the model.

    Raises:
        UserError: the network has no head for a task, or a task stands twice.

    Example:
    ```python
    tasks = (RankingTask("liked"),)
    model = RankingModel(build_ranker(features, STUDENT, tasks), tasks)
    model.compile(optimizer=LazyAdam(0.003))
    model.fit(batches)
    ```
    """

    def __init__(
        self,
        network: tf.keras.Model,
        tasks: Sequence[RankingTask],
        name: str = "ranking",
    ) -> None:
        super().__init__(name=name)
        self.network = network
        self.tasks = check_tasks(tasks)
        outputs = _names(network.output)
        for task in self.tasks:
            if task.output not in outputs:
                raise UserError(
                    f"`network` should have an output {task.output!r}. "
                    f"Received: outputs {sorted(outputs)}. Build it for the "
                    "same tasks."
                )
        self.feature_names = tuple(sorted(_names(network.input)))
        self._ranking_tasks = {task.name: task.ranking() for task in self.tasks}

    @property
    def networks(self) -> tuple[tf.keras.Model, ...]:
        """The networks whose weights are what was learned."""
        return (self.network,)

    def with_network(self, network: tf.keras.Model) -> RankingModel:
        """The same model around another network (pruned, stripped, ...).

        Args:
            network: as in the constructor.

        Returns:
            A new model; this one stays as it is.
        """
        return RankingModel(network, self.tasks, name=self.name)

    def call(self, batch: dict, training: bool = False) -> Outputs:
        """Runs the network once.

        Args:
            batch: `features` by name, `[batch]` or `[batch, length]`; those
                that the network does not have are left alone, such as what
                only a teacher sees.
            training: whether dropout drops.

        Returns:
            The network's outputs, `[batch]` logits among them.

        Raises:
            UserError: the batch lacks a feature of the network.
        """
        features = batch["features"]
        missing = [n for n in self.feature_names if n not in features]
        if missing:
            raise UserError(
                "A batch should have every feature of the network. Received: "
                f"no {missing} among {sorted(features)}."
            )
        return self.network(
            {name: features[name] for name in self.feature_names},
            training=training,
        )

    def predictions(self, outputs: Outputs) -> dict[str, tf.Tensor]:
        """Probabilities and ratings, derived from the logits.

        Args:
            outputs: what `call` returned.

        Returns:
            `[batch]` predictions by task.
        """
        return {
            task.name: task.predict(outputs[task.output]) for task in self.tasks
        }

    def task_losses(self, batch: dict, outputs: Outputs) -> Outputs:
        """The loss of every task, before the tasks' weights.

        Args:
            batch: `labels` by task and `weight`, all `[batch]` float32; NaN
                says that a row has no label of the task.
            outputs: what `call` returned for it.

        Returns:
            Scalars by task: means over rows, weighted by `weight`.
        """
        return {
            task.name: self._mean(
                self._ranking_tasks[task.name],
                batch["labels"][task.name],
                outputs[task.output],
                batch["weight"],
            )
            for task in self.tasks
        }

    def task_loss(self, batch: dict, outputs: Outputs) -> tf.Tensor:
        """The hard-label loss of a batch, see the class.

        Args:
            batch: see `task_losses`.
            outputs: what `call` returned for it.

        Returns:
            A scalar.
        """
        losses = self.task_losses(batch, outputs)
        return tf.add_n([t.weight * losses[t.name] for t in self.tasks])

    def compute_loss(self, inputs: dict, training: bool = False) -> tf.Tensor:
        """The loss of a batch, as `tfrs.Model` asks for it.

        Args:
            inputs: a batch, see `call` and `task_losses`.
            training: whether dropout drops.

        Returns:
            A scalar.
        """
        return self.task_loss(inputs, self(inputs, training=training))

    @staticmethod
    def _mean(
        task: tfrs.tasks.Ranking,
        labels: tf.Tensor,
        logits: tf.Tensor,
        weight: tf.Tensor,
    ) -> tf.Tensor:
        known = tf.logical_not(tf.math.is_nan(labels))
        labels = tf.where(known, labels, 0.0)
        weight = tf.where(known, weight, 0.0)
        # One column: Keras takes the mean over the last axis, which would
        # be the batch.
        total = task(
            labels[:, None],
            logits[:, None],
            sample_weight=weight,
            compute_metrics=False,
        )
        return tf.math.divide_no_nan(total, tf.reduce_sum(weight))


def check_tasks(tasks: Sequence[RankingTask]) -> tuple[RankingTask, ...]:
    """Tasks as a tuple.

    Args:
        tasks: one or more.

    Returns:
        The same.

    Raises:
        UserError: there is none, one stands twice or is something else.
    """
    tasks = tuple(tasks)
    names = [getattr(task, "name", None) for task in tasks]
    good = all(isinstance(task, RankingTask) for task in tasks)
    if not tasks or not good or len(set(names)) < len(names):
        raise UserError(
            "`tasks` should be one or more RankingTasks of different names. "
            f"Received: {tasks}. Give for example (RankingTask('liked'),)."
        )
    return tasks


def _names(structure: object) -> set[str]:
    if not isinstance(structure, dict):
        raise UserError(
            "`network` should take a dict of features and return a dict of "
            f"outputs. Received: {type(structure).__name__}. See build_ranker."
        )
    return set(structure)
