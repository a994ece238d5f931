"""`kd.distill`: the whole chain from data to an exported student."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from kd_tfrs.distillation.losses.checks import check_count
from kd_tfrs.errors import UserError
from kd_tfrs.export.saved_model import copy_version
from kd_tfrs.functions.preparing import functions_of
from kd_tfrs.functions.shipping import check_path
from kd_tfrs.workflow.compression_options import FORMS
from kd_tfrs.workflow.experiment import run_experiment
from kd_tfrs.workflow.given import Given
from kd_tfrs.workflow.options import FlatConfig
from kd_tfrs.workflow.ranking.prepare import RankingPrepared
from kd_tfrs.workflow.retrieval.prepare import Prepared
from kd_tfrs.workflow.run import Run
from kd_tfrs.workflow.student_chain import SHIPPED
from kd_tfrs.workflow.task_functions import TaskFunctions, unknown_option

Data = Prepared | RankingPrepared
_COLUMNS = ("parameters", "model_bytes", "times_smaller", "times_smaller_int8")


def distill(
    data: Data,
    teacher: Any = None,
    student: Any = None,
    student_dim: int | None = None,
    *,
    run_dir: str | os.PathLike | None = None,
    seed: int = 0,
    stages: Sequence[str] | None = None,
    say: Callable[[str], None] = print,
    **flags: Any,
) -> Distilled:
    """Distils a teacher into a student, compresses, exports and measures it.

    The same chain as `experiments/distill.py`: the student is trained alone
    and with the teacher, stored in 8 bits, pruned, and the smallest form that
    loses little is exported. All stages are measured on the same test events.

    Args:
        data: see `kd.split`.
        teacher: trained. For retrieval a `RetrievalModel`, a `Teacher` with
            embeddings such as `TwoTowerTeacher`, or two arrays of embeddings
            `[num_users + 1, dim]` and `[num_items, dim]`. For ranking a
            `RankingModel` or a Functional Keras model with one logit a row, or
            a list of them, whose mean teaches. When `None`, a large model is
            trained first.
        student: a new model, of which copies are trained; when `None`, one of
            `student_dim` dimensions.
        student_dim: width of the student's embeddings; the default of the
            command line when `None`.
        run_dir: where everything is kept; a call that was stopped continues
            there. A temporary folder when `None`.
        seed: of initial weights, shuffles and draws.
        stages: which stages run, with those that they need; all when `None`.
        say: prints a line.
        **flags: flags of `experiments/distill.py` without the dashes, such as
            `distilled_epochs=5` or `distillation_losses=["rrd"]`.

    Returns:
        The stages, the student and its export.

    Raises:
        UserError: an argument does not fit; see the message.

    Example:
    ```python
    result = kd.distill(data, teacher=large, student_dim=8)
    result.table
    result.export("models/films")
    ```
    """
    functions = functions_of(data)
    if student is not None and student_dim is not None:
        raise UserError(
            "`student_dim` should be left out beside a `student`, which has "
            f"its width. Received: `student_dim` = {student_dim}."
        )
    _check_flags(functions, teacher, student, student_dim, flags)
    check_count("seed", seed, 0)
    if run_dir is not None:
        check_path(run_dir)
    if student_dim is not None:
        check_count("student_dim", student_dim)
        flags = {functions.student_flag: student_dim, **flags}
    given = Given(
        data,
        {} if teacher is None else functions.given_teachers(teacher),
        None if student is None else functions.given_student(student),
    )
    folder = None
    if run_dir is None:
        folder = tempfile.TemporaryDirectory(prefix="kd_tfrs-")
        run_dir = folder.name
    task = dataclasses.replace(functions.task, chain=functions.chain_of(given))
    config = _config(functions, {**flags, "seed": seed})
    with _logged_to_file():
        results = run_experiment(task, config, run_dir, stages=stages, say=say)
    return Distilled(functions, given, config, Path(run_dir), results, folder)


def _check_flags(
    functions: TaskFunctions,
    teacher: Any,
    student: Any,
    student_dim: int | None,
    flags: dict[str, Any],
) -> None:
    """Refuses flags of a model that is given."""
    sizes = {
        name
        for section in ("student_towers", "student_ranker")
        for name in _flags_of(functions, section)
    }
    trained = {
        name
        for section in ("teacher_towers", "teacher_rankers", "teacher")
        for name in _flags_of(functions, section)
    }
    refused = {
        "`student`": sizes if student is not None else set(),
        "`student_dim`": {functions.student_flag} if student_dim else set(),
        "`teacher`": trained if teacher is not None else set(),
    }
    for beside, names in refused.items():
        for name in flags:
            if name in names:
                raise UserError(
                    f"`{name}` should be left out beside {beside}, where it "
                    f"has no effect. Received: `{name}` = {flags[name]!r}."
                )


def _flags_of(functions: TaskFunctions, section: str) -> set[str]:
    kind = functions.config_type
    if section not in kind.sections:
        return set()
    prefix = kind.sections[section]
    names = {f.name for f in dataclasses.fields(getattr(kind(), section))}
    return {prefix + name for name in names}


@contextlib.contextmanager
def _logged_to_file() -> Iterator[None]:
    """Keeps the log of a run in its folder, out of the notebook."""
    logger = logging.getLogger("kd_tfrs")
    before, logger.propagate = logger.propagate, False
    try:
        yield
    finally:
        logger.propagate = before


def _config(functions: TaskFunctions, flags: dict[str, Any]) -> FlatConfig:
    """The options of the run; those of the data have no effect here."""
    config = functions.config_type()
    known = set(config.flat()) - {"task"}
    known -= {field.name for field in dataclasses.fields(config.data)}
    for name in flags:
        if name not in known:
            raise unknown_option(name, sorted(known))
    flat = {
        **config.flat(),
        "dataset": functions.name,
        **{k: list(v) if isinstance(v, tuple) else v for k, v in flags.items()},
    }
    return type(config).from_flat(flat)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Distilled:
    """The result of `kd.distill`.

    Args:
        functions: of the task.
        given: data and models.
        config: options of the run.
        run_dir: where everything is kept.
        results: contents of `metrics.json`.
        folder: keeps a temporary `run_dir`, or `None`.
    """

    functions: TaskFunctions
    given: Given
    config: FlatConfig
    run_dir: Path
    results: dict[str, Any]
    folder: tempfile.TemporaryDirectory | None = None

    @property
    def table(self) -> pd.DataFrame:
        """One row a stage: test metrics, shares of the teacher, and bytes."""
        rows = {}
        for row in (*self.results["baselines"], *self.results["stages"]):
            kept = row.get("kept") or {}
            rows[row["stage"]] = {
                **row["metrics"],
                "kept": kept.get("quality"),
                "lead_kept": kept.get("lead"),
                **{name: row.get(name) for name in _COLUMNS},
            }
        table = pd.DataFrame.from_dict(rows, orient="index")
        first = [*self.results["shown"], "kept", "lead_kept", *_COLUMNS]
        others = [name for name in table if name not in first]
        return table[[*first, *others]].rename_axis("stage")

    @property
    def student(self) -> Any:
        """The distilled student as a Keras model, before compression."""
        return self.model("distilled")

    def model(self, stage: str) -> Any:
        """The trained model of a stage.

        Args:
            stage: such as "teacher", "student" (trained alone), "distilled"
                or "pruned".

        Returns:
            A Keras model.

        Raises:
            UserError: the stage has no weights of its own.
        """
        form = FORMS.get(stage)
        if form is not None and not form.is_trained:
            raise UserError(
                f"`stage` should have weights of its own. Received: {stage!r}, "
                f"which stores those of {form.source!r} as integers. Write "
                f"kd.quantize(result.model({form.source!r}))."
            )
        with contextlib.closing(Run(self.run_dir, self.config, log=False)) as r:
            return self.functions.chain_of(self.given)(r).learner.load(stage)

    @property
    def shipped(self) -> str:
        """The form of the student that the export stores, such as "int8"."""
        return self._export_row()["choice"]["name"]

    def plot(
        self, name: str = "stages", path: str | os.PathLike | None = None
    ) -> Any:
        """A plot of the run.

        Args:
            name: "stages" for quality against size, "curves" for validation
                by epoch; of ranking also "calibration" and "roc".
            path: a PNG to write; `None` returns an image for a notebook.

        Returns:
            The path, or an IPython image.

        Raises:
            UserError: there is no such plot, or IPython is not installed and
                there is no path.
        """
        self._check_there()
        drawn = {found.stem: found for found in self.run_dir.glob("*.png")}
        if name not in drawn:
            raise UserError(
                f"`name` should be one of {', '.join(sorted(drawn))}. "
                f"Received: `name` = {name!r}."
            )
        if path is not None:
            shutil.copyfile(drawn[name], path)
            return Path(path)
        try:
            from IPython.display import Image
        except ImportError:
            raise UserError(
                "`path` should be given outside of a notebook. Received: "
                "None, and no IPython. Write result.plot(path='stages.png')."
            ) from None
        return Image(data=drawn[name].read_bytes(), width=700)

    def export(self, path: str | os.PathLike) -> Path:
        """Copies the verified export as the next version of a folder.

        Args:
            path: folder of versions for TensorFlow Serving.

        Returns:
            The version's folder.

        Raises:
            UserError: nothing was exported.
        """
        check_path(path)
        if Path(path).suffix == ".tflite":
            raise UserError(
                "`path` should be a folder of versions. Received: "
                f"{str(path)!r}. Write kd.export(result.student, data, path) "
                "for a LiteRT file."
            )
        self._export_row()
        self._check_there()
        versions = self.run_dir / "export" / self.functions.folder
        newest = max(versions.iterdir(), key=lambda found: int(found.name))
        return copy_version(newest, Path(path))

    def __repr__(self) -> str:
        """The table."""
        return repr(self.table)

    def _check_there(self) -> None:
        if not self.run_dir.is_dir():
            raise UserError(
                "The run folder should still be there. Received: "
                f"{self.run_dir}, which was deleted. Call kd.distill again."
            )

    def _export_row(self) -> dict[str, Any]:
        for row in self.results["stages"]:
            if row["stage"] == SHIPPED:
                return row
        raise UserError(
            "`stages` should have saved_model for an export. Received: "
            f"{', '.join(row['stage'] for row in self.results['stages'])}."
        )
