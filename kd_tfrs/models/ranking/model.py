"""The ranking model, with the ranking task of TFRS."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf
import tensorflow_recommenders as tfrs

from kd_tfrs.errors import UserError
from kd_tfrs.models.ranking.task import RankingTask

Outputs = dict[str, tf.Tensor]


@tf.keras.utils.register_keras_serializable("kd_tfrs")
class RankingModel(tfrs.Model):
    r"""A network with one head for each task, trained on the labels.

    $$L = \sum_t \lambda_t \frac{\sum_{i \in K_t} w_i
    l_t(z_{ti}, y_{ti})}{\sum_{i \in K_t} w_i}$$

    with the weight $\lambda_t$ of a task, the weight $w_i$ of a row and the
    rows $K_t$ that have a label of the task.

    Args:
        network: Functional Keras model from a dict of features to a dict of
            outputs, `logits_<task>` (`[batch]`) for each task among them; see
            `build_ranker`.
        tasks: one or more.
        name: name of the model.

    Raises:
        UserError: when the network has no head for a task, or a task is
            repeated.

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
        # Its networks are built, so that it has a summary.
        self.built = True
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

    def get_config(self) -> dict:
        """Arguments of the constructor; the network by its configuration."""
        return {
            "network": tf.keras.saving.serialize_keras_object(self.network),
            "tasks": [dataclasses.asdict(task) for task in self.tasks],
            "name": self.name,
        }

    @classmethod
    def from_config(
        cls, config: dict, custom_objects: dict | None = None
    ) -> RankingModel:
        """The inverse of `get_config`."""
        network = tf.keras.saving.deserialize_keras_object(
            config["network"], custom_objects
        )
        tasks = tuple(RankingTask(**task) for task in config["tasks"])
        return cls(network, tasks, config["name"])

    def build_from_config(self, config: dict) -> None:
        """Nothing to build: the networks of `from_config` are built."""
        del config

    @property
    def networks(self) -> tuple[tf.keras.Model, ...]:
        """The networks with the trained weights."""
        return (self.network,)

    def with_networks(self, network: tf.keras.Model) -> RankingModel:
        """Returns the same model with another network (pruned, stripped, ...).

        Args:
            network: as in the constructor.

        Returns:
            A new model; this one does not change.
        """
        return RankingModel(network, self.tasks, name=self.name)

    def call(self, batch: dict, training: bool = False) -> Outputs:
        """Runs the network once.

        Args:
            batch: `features` by name, `[batch]` or `[batch, length]`. Features
                that are not inputs of the network are ignored, such as those
                of a teacher only.
            training: whether dropout is active.

        Returns:
            The network's outputs, `[batch]` logits among them.

        Raises:
            UserError: when the batch lacks a feature of the network.
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
        """Computes probabilities and ratings from the logits.

        Args:
            outputs: outputs of `call`.

        Returns:
            `[batch]` predictions by task.
        """
        return {
            task.name: task.predict(outputs[task.output]) for task in self.tasks
        }

    def task_losses(self, batch: dict, outputs: Outputs) -> Outputs:
        """Computes the loss of every task, without the tasks' weights.

        Args:
            batch: `labels` by task and `weight`, all `[batch]` float32; a
                missing label is NaN.
            outputs: outputs of `call` for the batch.

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
        """Computes the hard-label loss of a batch, see the class.

        Args:
            batch: see `task_losses`.
            outputs: outputs of `call` for the batch.

        Returns:
            A scalar.
        """
        losses = self.task_losses(batch, outputs)
        return tf.add_n([t.weight * losses[t.name] for t in self.tasks])

    def compute_loss(self, inputs: dict, training: bool = False) -> tf.Tensor:
        """Computes the loss of a batch for `tfrs.Model`; see `task_loss`."""
        return self.task_loss(inputs, self(inputs, training=training))

    @staticmethod
    def _mean(
        task: tfrs.tasks.Ranking,
        labels: tf.Tensor,
        logits: tf.Tensor,
        weight: tf.Tensor,
    ) -> tf.Tensor:
        mask = tf.logical_not(tf.math.is_nan(labels))
        labels = tf.where(mask, labels, 0.0)
        weight = tf.where(mask, weight, 0.0)
        # Keras averages over the last axis, which should not be the batch.
        total = task(
            labels[:, None],
            logits[:, None],
            sample_weight=weight,
            compute_metrics=False,
        )
        return tf.math.divide_no_nan(total, tf.reduce_sum(weight))


def check_tasks(tasks: Sequence[RankingTask]) -> tuple[RankingTask, ...]:
    """Checks tasks and converts them to a tuple.

    Args:
        tasks: one or more.

    Returns:
        The tasks as a tuple.

    Raises:
        UserError: when there is no task, a task is repeated, or an element is
            not a `RankingTask`.
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
