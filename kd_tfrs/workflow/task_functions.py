"""What `kd.fit`, `kd.evaluate` and the others do for the data of one task."""

from __future__ import annotations

import abc
import dataclasses
import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.experiment import Task
from kd_tfrs.workflow.given import Given
from kd_tfrs.workflow.options import FlatConfig
from kd_tfrs.workflow.stored_model import StoredModel
from kd_tfrs.workflow.student_chain import StudentChain
from kd_tfrs.workflow.training import Batches


class TaskFunctions(abc.ABC):
    """What a task does with prepared data and models in memory.

    Args:
        data: prepared data of the task.

    Attributes:
        task: its chain and report.
        config_type: the options of its runs.
        student_flag: the flag of the width of a student.
        folder: of the export in a run.
    """

    task: ClassVar[Task]
    config_type: ClassVar[type[FlatConfig]]
    student_flag: ClassVar[str] = "student_embedding_dim"
    folder: ClassVar[str]

    def __init__(self, data: Any) -> None:
        self.data = data

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Name of the data set."""

    @abc.abstractmethod
    def build(self, options: Mapping[str, Any]) -> Any:
        """See `kd.build_model`."""

    @abc.abstractmethod
    def check_model(self, model: Any) -> Any:
        """The model, the student of a distiller, or what was quantized.

        Raises:
            UserError: it is no model of these data.
        """

    @abc.abstractmethod
    def batches(self, model: Any, seed: int, options: Any) -> Batches:
        """Training batches of a model or a distiller."""

    @abc.abstractmethod
    def validator(self, model: Any) -> Callable[[], dict[str, float]]:
        """What measures a model on the validation data while it trains."""

    @abc.abstractmethod
    def evaluate(self, model: Any, label: str | None) -> Any:
        """See `kd.evaluate`."""

    @abc.abstractmethod
    def export(self, model: StoredModel, path: Path) -> Path:
        """See `kd.export`."""

    @abc.abstractmethod
    def recommend(
        self, model: StoredModel, query: Any, k: int, **request: Any
    ) -> pd.DataFrame:
        """See `kd.recommend`, for a model in memory."""

    @abc.abstractmethod
    def given_teachers(self, teacher: Any) -> dict[str, Any]:
        """The models of a `teacher` of `kd.distill` by stage."""

    @abc.abstractmethod
    def build_teacher(self, model: Any) -> Any:
        """See `kd.build_teacher`."""

    @abc.abstractmethod
    def given_student(self, student: Any) -> Any:
        """The model of a `student` of `kd.distill`."""

    def chain_of(self, given: Given) -> Callable[..., StudentChain]:
        """Makes the chain of a run on what a program gives."""
        return lambda run: self.task.chain(run, given)


def chosen(
    options: Mapping[str, Any], *kinds: Any, leave_out: Sequence[str] = ()
) -> list[Any]:
    """Options of several dataclasses, each with those that it has.

    Args:
        options: values by the names of fields.
        *kinds: instances with the defaults.
        leave_out: fields that have no effect here.

    Returns:
        An instance for each of `kinds`.

    Raises:
        UserError: an option is of none of them.

    Example:
    >>> from kd_tfrs.workflow.retrieval.config import TowerOptions
    >>> chosen({"embedding_dim": 12}, TowerOptions())[0].embedding_dim
    12
    """
    fields = [
        {f.name for f in dataclasses.fields(kind)} - {*leave_out}
        for kind in kinds
    ]
    known = sorted(set().union(*fields))
    for name in options:
        if name not in known:
            raise unknown_option(name, known)
    return [
        dataclasses.replace(
            kind,
            **{
                name: tuple(v) if isinstance(v, list) else v
                for name, v in options.items()
                if name in own
            },
        )
        for kind, own in zip(kinds, fields, strict=True)
    ]


def unknown_option(name: str, known: Sequence[str]) -> UserError:
    """An error for an option that is not known, with the closest ones."""
    near = difflib.get_close_matches(name, known, n=3) or sorted(known)[:8]
    return UserError(
        f"An option should be one of {len(known)} that exist. Received: "
        f"{name!r}. Did you mean {', '.join(near)}?"
    )


def is_path(value: object) -> bool:
    """Whether a value is the path of a file or folder."""
    return isinstance(value, (str, os.PathLike))
