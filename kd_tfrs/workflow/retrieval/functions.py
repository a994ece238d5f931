"""What `kd.fit`, `kd.evaluate` and the others do for retrieval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from kd_tfrs.data.retrieval.batches import RetrievalBatches
from kd_tfrs.distillation.retrieval import Distiller, Teacher
from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.retrieval import SavedModelScorer, Scorer
from kd_tfrs.evaluation.retrieval.protocol import Result
from kd_tfrs.models.retrieval import RetrievalModel
from kd_tfrs.workflow.recommendations import as_table, item_titles
from kd_tfrs.workflow.retrieval import measure
from kd_tfrs.workflow.retrieval.builders import build_model, build_teacher
from kd_tfrs.workflow.retrieval.config import (
    Config,
    TowerOptions,
    TrainOptions,
)
from kd_tfrs.workflow.retrieval.experiment import RETRIEVAL
from kd_tfrs.workflow.retrieval.exporting import export_model
from kd_tfrs.workflow.retrieval.prepare import Prepared
from kd_tfrs.workflow.retrieval.table_student import table_model
from kd_tfrs.workflow.retrieval.teacher_scorer import TeacherScorer
from kd_tfrs.workflow.stored_model import StoredModel
from kd_tfrs.workflow.task_functions import TaskFunctions, chosen, is_path

_BLOCK = 8192
# Options of a training that its optimizer and epochs stand for.
_COMPILED = ("learning_rate", "decay", "epochs", "patience", "dropout")
_OF_MODEL = ("softmax_temperature", "popularity_correction")
_OF_BATCHES = ("batch_size", "uniform_negatives")


class RetrievalFunctions(TaskFunctions):
    """See `TaskFunctions`.

    Args:
        data: see `prepare_interactions`.
    """

    task = RETRIEVAL
    config_type = Config
    folder = "retrieval"
    data: Prepared

    @property
    def name(self) -> str:
        """See `TaskFunctions.name`."""
        return self.data.interactions.name

    def build(self, options: Mapping[str, Any]) -> RetrievalModel:
        """See `TaskFunctions.build`."""
        towers, training = chosen(
            options,
            TowerOptions(),
            TrainOptions(decay="constant"),
            leave_out=("decay", "epochs", "patience", *_OF_BATCHES),
        )
        encoded = self.data.encode(towers)
        return build_model(encoded, towers, training)

    def batches(self, model: Any, seed: int, options: Any) -> RetrievalBatches:
        """See `TaskFunctions.batches`."""
        (training,) = chosen(
            options, TrainOptions(), leave_out=(*_COMPILED, *_OF_MODEL)
        )
        student = self.check_model(model)
        if isinstance(model, Distiller):
            catalogue = self.data.catalogue
            model.check_rows(catalogue.num_users + 1, catalogue.num_items)
        return self.data.batches(self.data.encoded_for(student), training, seed)

    def check_model(self, model: Any) -> RetrievalModel:
        """See `TaskFunctions.check_model`."""
        student = StoredModel.of(model).model
        if not isinstance(student, RetrievalModel):
            raise UserError(
                "`model` should be a RetrievalModel or its distiller for "
                f"retrieval data. Received: {type(student).__name__}."
            )
        self.data.encoded_for(student)
        return student

    def validator(self, model: RetrievalModel) -> Callable[[], dict]:
        """See `TaskFunctions.validator`."""
        encoded = self.data.encoded_for(model)
        return lambda: measure.validate(model, encoded, self.data)

    def evaluate(self, model: Any, label: str | None) -> Result:
        """See `TaskFunctions.evaluate`."""
        if label is not None:
            raise UserError(
                "`label` should be left out for retrieval, which has one "
                f"relevance. Received: `label` = {label!r}."
            )
        return self.data.test.evaluate(self._scorer(model))

    def _scorer(self, model: Any) -> Scorer:
        if is_path(model):
            return SavedModelScorer(model)
        if isinstance(model, Teacher):
            return TeacherScorer(model, self.data)
        stored = StoredModel.of(model)
        if isinstance(stored.model, RetrievalModel):
            return self._embedded(stored).scorer(self.data)
        if callable(getattr(model, "recommend", None)):
            return model
        raise UserError(
            "`model` should be a RetrievalModel, a distiller, a Teacher, a "
            "scorer or the folder of an export. Received: "
            f"{type(stored.model).__name__}."
        )

    def _embedded(self, stored: StoredModel) -> measure.Embedded:
        encoded = self.data.encoded_for(stored.model)
        embedded = measure.embed(stored.model, encoded, self.data)
        return embedded.stored(stored.storage)

    def export(self, model: StoredModel, path: Path) -> Path:
        """See `TaskFunctions.export`."""
        if path.suffix == ".tflite":
            raise UserError(
                "`path` should be a folder for a retrieval model, of which "
                f"SavedModels are written. Received: {str(path)!r}."
            )
        encoded = self.data.encoded_for(model.model)
        version, _ = export_model(
            model.model, self.data, encoded, path, storage=model.storage
        )
        return version

    def recommend(
        self,
        model: StoredModel,
        query: Any,
        k: int,
        *,
        exclude_seen: bool | None = None,
        **request: Any,
    ) -> pd.DataFrame:
        """See `TaskFunctions.recommend`."""
        if request:
            raise UserError(
                "A request to a retrieval model should have no "
                f"`{next(iter(request))}`, which is for ranking. Received: "
                f"{next(iter(request.values()))!r}."
            )
        users = np.atleast_1d(query)
        leaves_out = exclude_seen is not False
        exclude = self._seen_items(users) if leaves_out else None
        ids, scores = self._scorer(model).recommend(users, k, exclude)
        interactions = self.data.interactions
        titles = item_titles(interactions.items, interactions.schema.item_id)
        return as_table(users, ids, scores, titles)

    def _seen_items(self, users: np.ndarray) -> list[list[Any]]:
        catalogue, seen = self.data.catalogue, self.data.seen()
        rows = catalogue.user_rows(users)
        return [
            catalogue.item_ids[seen[row].numpy()].tolist() if row else []
            for row in rows
        ]

    def given_teachers(self, teacher: Any) -> dict[str, RetrievalModel]:
        """See `TaskFunctions.given_teachers`."""
        if isinstance(teacher, RetrievalModel):
            self.data.encoded_for(teacher)
            return {"teacher": teacher}
        if isinstance(teacher, (tuple, list)) and len(teacher) == 2:
            return {"teacher": table_model(self.data, *teacher)}
        if isinstance(teacher, Teacher):
            return {"teacher": self._model_of(teacher)}
        raise UserError(
            "`teacher` should be a RetrievalModel, a Teacher with embeddings, "
            "or two arrays of embeddings of users and items. Received: "
            f"{type(teacher).__name__}. Wrap two models in TwoTowerTeacher."
        )

    def build_teacher(self, model: Any) -> Teacher:
        """See `TaskFunctions.build_teacher`."""
        found = self.given_teachers(model)["teacher"]
        encoded = self.data.encoded_for(found)
        return build_teacher(found, encoded, self.data.seen())

    def _model_of(self, teacher: Teacher) -> RetrievalModel:
        catalogue = self.data.catalogue
        counts = (catalogue.num_users + 1, catalogue.num_items)
        teacher.check_rows(*counts)
        sides = zip(("query", "candidate"), counts, strict=True)
        try:
            tables = [_embeddings(teacher, side, n) for side, n in sides]
        except UserError:
            raise UserError(
                "`teacher` of a whole chain should have embeddings. Received: "
                f"{type(teacher).__name__}, which has scores alone. Distil it "
                "by kd.Distiller and kd.fit."
            ) from None
        temperature = getattr(teacher, "temperature", 1.0)
        return table_model(self.data, *tables, temperature=temperature)

    def given_student(self, student: Any) -> RetrievalModel:
        """See `TaskFunctions.given_student`."""
        if not isinstance(student, RetrievalModel):
            raise UserError(
                "`student` should be a RetrievalModel. Received: "
                f"{type(student).__name__}. Build it by kd.build_model, or "
                "name its width by `student_dim`."
            )
        self.data.encoded_for(student)
        return student


def _embeddings(teacher: Teacher, side: Any, count: int) -> np.ndarray:
    blocks = [
        tf.range(start, min(start + _BLOCK, count))
        for start in range(0, count, _BLOCK)
    ]
    return np.concatenate([teacher.features(side, x).numpy() for x in blocks])
