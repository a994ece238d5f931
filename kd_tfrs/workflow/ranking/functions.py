"""What `kd.fit`, `kd.evaluate` and the others do for ranking."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from kd_tfrs.data.ranking.batches import RankingBatches
from kd_tfrs.distillation.ranking import RankingTeacher
from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.ids import as_ids, id_kind
from kd_tfrs.evaluation.ranking.protocol import RankingResult
from kd_tfrs.export import FLOAT32
from kd_tfrs.export.ranking import RankingInputs, SavedModelRanker
from kd_tfrs.export.ranking.keras_ranker import KerasRanker
from kd_tfrs.export.ranking.stored_layers import rounded_network
from kd_tfrs.models.ranking import RankingModel
from kd_tfrs.workflow.embedding_sizes import check_embedding_sizes
from kd_tfrs.workflow.ranking import edge, exporting, measure
from kd_tfrs.workflow.ranking.builders import build_model
from kd_tfrs.workflow.ranking.config import RankingConfig
from kd_tfrs.workflow.ranking.experiment import RANKING
from kd_tfrs.workflow.ranking.options import RankerTrainOptions, StudentRanker
from kd_tfrs.workflow.ranking.prepare import RankingPrepared
from kd_tfrs.workflow.ranking.teacher_factory import together
from kd_tfrs.workflow.recommendations import as_table, item_titles
from kd_tfrs.workflow.stored_model import StoredModel
from kd_tfrs.workflow.task_functions import TaskFunctions, chosen, is_path

_OF_TRAINING = ("decay", "epochs", "patience", "negative_rate")


class RankingFunctions(TaskFunctions):
    """See `TaskFunctions`.

    Args:
        data: see `prepare_examples`.
    """

    task = RANKING
    config_type = RankingConfig
    folder = "ranking"
    data: RankingPrepared

    @property
    def name(self) -> str:
        """See `TaskFunctions.name`."""
        return self.data.split.name

    def build(self, options: Mapping[str, Any]) -> RankingModel:
        """See `TaskFunctions.build`."""
        sizes, training = chosen(
            options,
            StudentRanker(),
            RankerTrainOptions(),
            leave_out=(*_OF_TRAINING, "batch_size", "class_weights"),
        )
        return build_model(
            self.data.inputs(sizes, served=True),
            sizes,
            sizes.network,
            training,
            self.data.tasks,
            1,
        )

    def batches(self, model: Any, seed: int, options: Any) -> RankingBatches:
        """See `TaskFunctions.batches`."""
        (training,) = chosen(
            options,
            RankerTrainOptions(),
            leave_out=(
                *_OF_TRAINING,
                "learning_rate",
                "dropout",
                "class_weights",
            ),
        )
        student = self.check_model(model)
        # A teacher may see more than its student.
        names = (
            tuple(self.data.tables["train"])
            if hasattr(model, "student")
            else student.feature_names
        )
        return self.data.batches(names, training, seed)

    def check_model(self, model: Any) -> RankingModel:
        """See `TaskFunctions.check_model`."""
        student = StoredModel.of(model).model
        if not isinstance(student, RankingModel):
            raise UserError(
                "`model` should be a RankingModel or its distiller for ranking "
                f"data. Received: {type(student).__name__}. Build it by "
                "kd.build_model; other Keras models are students of "
                "kd.Distiller, and teachers of kd.distill."
            )
        return self.as_model("model", student)

    def validator(self, model: RankingModel) -> Callable[[], dict]:
        """See `TaskFunctions.validator`."""
        scoring = measure.Scoring(model, model.tasks)
        rows = self.data.validated(model.feature_names)
        return lambda: measure.validate(scoring(rows), self.data)

    def evaluate(self, model: Any, label: str | None) -> RankingResult:
        """See `TaskFunctions.evaluate`."""
        label = label or self.data.task.name
        if label not in self.data.test:
            raise UserError(
                f"`label` should be one of {', '.join(self.data.test)}. "
                f"Received: `label` = {label!r}."
            )
        return self.data.test[label].evaluate(self._logits(model)[label])

    def _logits(self, model: Any) -> measure.Logits:
        test = self.data.split.test
        if is_path(model):
            ranker = SavedModelRanker(model)
            return ranker.score(test.table, test.history)
        if isinstance(model, RankingTeacher):
            names = tuple(self.data.tables["test"])
            scoring = measure.Scoring(model.outputs, self.data.tasks)
            return scoring(self.data.rows("test", names))
        stored = self._as_stored(StoredModel.of(model))
        scoring = measure.Scoring(stored, stored.tasks)
        return scoring(self.data.rows("test", stored.feature_names))

    def _as_stored(self, stored: StoredModel) -> RankingModel:
        model = self.as_model("model", stored.model)
        if stored.storage == FLOAT32:
            return model
        return model.with_networks(
            rounded_network(model.network, stored.storage)
        )

    def export(self, model: StoredModel, path: Path) -> Path:
        """See `TaskFunctions.export`."""
        if path.suffix == ".tflite":
            rounded = self._as_stored(model)
            edge.write_litert(rounded, path, int8=model.storage.int8)
            return path
        network = model.model
        return exporting.export_model(
            network,
            self.data,
            self.data.inputs_of(network.feature_names),
            path,
            exporting.serving_tables(self.data),
            model.storage,
        )

    def recommend(
        self,
        model: StoredModel,
        query: Any,
        k: int,
        *,
        candidates: Any = None,
        context: Mapping[str, Any] | None = None,
        exclude_seen: bool | None = None,
    ) -> pd.DataFrame:
        """See `TaskFunctions.recommend`."""
        if exclude_seen is not None:
            raise UserError(
                "`exclude_seen` should be left out for ranking, which ranks "
                f"the given candidates. Received: {exclude_seen}."
            )
        check_request(query, candidates, context)
        self._check_ids({"query": query, "candidates": candidates})
        ranker = self._ranker(model)
        ids, scores = ranker.rank(query, candidates, k, context)
        interactions = self.data.split.interactions
        titles = item_titles(interactions.items, interactions.schema.item_id)
        return as_table([query], ids[None], scores[None], titles)

    def _check_ids(self, request: Mapping[str, Any]) -> None:
        """Refuses ids of another kind than those of the data."""
        interactions = self.data.split.interactions
        if interactions is None:
            return
        schema = interactions.schema
        known = {
            "query": interactions.users[schema.user_id],
            "candidates": interactions.items[schema.item_id],
        }
        for name, given in request.items():
            kinds = [
                id_kind(as_ids(ids, name))
                for ids in (np.atleast_1d(given), known[name])
            ]
            if kinds[0] != kinds[1]:
                raise UserError(
                    f"`{name}` should be {kinds[1]} ids, as the data have. "
                    f"Received: `{name}` = {given!r}."
                )

    def _ranker(self, stored: StoredModel) -> KerasRanker:
        model = self._as_stored(stored)
        inputs = self.data.inputs_of(model.feature_names)
        return KerasRanker(
            model.network,
            model.tasks,
            RankingInputs.of(model, inputs.features, self.data.split.train),
            exporting.serving_tables(self.data),
        )

    def given_teachers(self, teacher: Any) -> dict[str, RankingModel]:
        """See `TaskFunctions.given_teachers`."""
        several = isinstance(teacher, (tuple, list))
        models = teacher if several else [teacher]
        if not models:
            raise UserError(
                "`teacher` should have at least one model. Received: an empty "
                "list. Leave it out to train the default teachers."
            )
        return {
            f"teacher_{place}": self.as_model("teacher", model)
            for place, model in enumerate(models, start=1)
        }

    def build_teacher(self, model: Any) -> RankingTeacher:
        """See `TaskFunctions.build_teacher`."""
        return together([*self.given_teachers(model).values()])

    def given_student(self, student: Any) -> RankingModel:
        """See `TaskFunctions.given_student`."""
        return self.as_model("student", student)

    def as_model(self, who: str, model: Any) -> RankingModel:
        """A Keras network on encoded features as a `RankingModel`.

        Args:
            who: name of the argument, for errors.
            model: a `RankingModel`, or a Functional model whose inputs are
                named as features of the data, with one logit a row, or a dict
                of logits as `RankingModel` has them.

        Returns:
            A `RankingModel` of the same layers.

        Raises:
            UserError: it is neither.
        """
        if isinstance(model, RankingModel):
            self._check(who, model)
            return model
        if not isinstance(model, tf.keras.Model) or not model.inputs:
            raise UserError(
                f"`{who}` should be a RankingModel or a Functional Keras model "
                "on features of the data. Received: "
                f"{type(model).__name__}. For other models use kd.Distiller."
            )
        inputs = dict(zip(model.input_names, model.inputs, strict=True))
        self.data.inputs_of(inputs)
        outputs = model.output
        if not isinstance(outputs, Mapping):
            outputs = self._named(who, outputs)
        outputs = {
            name: tf.keras.layers.Reshape(())(x) if x.shape.rank == 2 else x
            for name, x in outputs.items()
        }
        _check_logits(who, model)
        network = tf.keras.Model(inputs, outputs, name=model.name)
        made = RankingModel(network, self.data.tasks)
        self._check(who, made)
        return made

    def _check(self, who: str, model: RankingModel) -> None:
        """Checks that a model is one of these data."""
        expected = [task.output for task in self.data.tasks]
        found = [task.output for task in model.tasks]
        if sorted(expected) != sorted(found):
            raise UserError(
                f"`{who}` should have the outputs {', '.join(expected)} of the "
                f"data. Received: {', '.join(found)}. Give kd.split the same "
                "`tasks`."
            )
        features = self.data.inputs_of(model.feature_names).features
        check_embedding_sizes(f"`{who}`", model.network, features)

    def _named(self, who: str, output: Any) -> dict[str, Any]:
        tasks = self.data.tasks
        one = tf.is_tensor(output) or hasattr(output, "shape")
        if len(tasks) > 1 or not one or output.shape[1:].num_elements() != 1:
            raise UserError(
                f"`{who}` should have one logit a row, or a dict of "
                f"{', '.join(task.output for task in tasks)}. Received: an "
                f"output of shape {getattr(output, 'shape', None)}."
            )
        return {tasks[0].output: output}


def _check_logits(who: str, model: tf.keras.Model) -> None:
    """Refuses probabilities, as far as layers show them."""
    for layer in {x._keras_history.layer for x in model.outputs}:
        name = getattr(getattr(layer, "activation", None), "__name__", "")
        if name in ("sigmoid", "softmax"):
            raise UserError(
                f"`{who}` should give logits. Received: a {name} in its layer "
                f"{layer.name}. Give the model up to the layer before, or "
                "leave the activation out."
            )


def check_request(query: Any, candidates: Any, context: Any) -> None:
    """Checks a request to a ranker.

    Args:
        query: raw id of one user.
        candidates: raw ids of the items to rank.
        context: features of the moment, or `None`.

    Raises:
        UserError: there are several users or no candidates.
    """
    if np.ndim(query):
        raise UserError(
            "`query` should be the raw id of one user for ranking. Received: "
            f"{query!r}. Call it once for each."
        )
    if context is not None and not isinstance(context, Mapping):
        raise UserError(
            "`context` should be a dict of features by name. Received: "
            f"{context!r}."
        )
    if np.ndim(candidates) == 0 and candidates is not None:
        raise UserError(
            "`candidates` should be a list of raw ids. Received: "
            f"{candidates!r}. Write [{candidates!r}]."
        )
    if candidates is None or not np.size(candidates):
        raise UserError(
            "`candidates` should be the raw ids of the items that a ranking "
            "model ranks. Received: none. Take those of a retrieval model."
        )
