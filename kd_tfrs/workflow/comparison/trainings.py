"""The trainings of a comparison: trials, repeats, and one test per repeat."""

from __future__ import annotations

import abc
import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.comparison.contenders import (
    DISTILLED,
    Contender,
    folder_name,
)
from kd_tfrs.workflow.comparison.findings import Row, flag_text
from kd_tfrs.workflow.learner import Learner, PreparedData
from kd_tfrs.workflow.run import Run, environment
from kd_tfrs.workflow.shared_teachers import SharedTeachers
from kd_tfrs.workflow.training import Progress
from kd_tfrs.workflow.tuning import (
    Outcome,
    Pruned,
    Report,
    best_value,
    train_reporting,
)

_DETAILS = ("validation", "train_seconds", "epochs", "best_epoch", "flags")
Arrays = dict[str, np.ndarray]
# Endings of the names of compressed students.
COMPRESSED = (" pruned", " int8")


class Trainings(abc.ABC):
    """Trains contenders in folders of their own, and tests each repeat once.

    Args:
        run: run folder of the comparison.
        teachers: teachers of the students.
        references: names of the models that are tested beside the contenders,
            such as "teacher".
        say: prints a line.
    """

    learner_type: ClassVar[type[Learner]]

    def __init__(
        self,
        run: Run,
        teachers: SharedTeachers,
        references: Sequence[str],
        say: Callable[[str], None],
    ) -> None:
        self.run = run
        self.config = run.config
        self.teachers = teachers
        self.references = tuple(references)
        self.say = say
        self._commit = environment()["commit"]

    @abc.abstractmethod
    def validate_teacher(self, learner: Learner) -> dict[str, float]:
        """Validation metrics of the teacher."""

    @abc.abstractmethod
    def reference(
        self, name: str, learner: Learner, validation: Mapping[str, float]
    ) -> tuple[Any, Row]:
        """A model that is tested beside the contenders."""

    @abc.abstractmethod
    def measure(
        self, name: str, model: Any, learner: Learner
    ) -> tuple[Row, Arrays]:
        """Measures a model on the test data."""

    @abc.abstractmethod
    def int8(self, model: Any, learner: Learner) -> Any:
        """A pruned model with 8-bit weights, as `measure` takes it."""

    def trial(
        self,
        contender: Contender,
        number: int,
        point: dict[str, Any],
        report: Report,
        prepared: PreparedData,
    ) -> Outcome:
        """Trains at a point of the search space; uses no test data."""
        place = self._trial_place(contender, number)
        flags = {**contender.flags(point), "seed": self.config.seed}
        changes = _changes(point, contender.first) or "as given"
        with self._learner(place, flags, prepared, contender) as learner:
            try:
                model, progress = train_reporting(
                    learner, contender.stage, report
                )
            except Pruned:
                self.say(f"  trial {number}: stopped early, {changes}")
                raise
            learner.save(contender.stage, model)
        value = best_value(learner, progress)
        self.say(
            f"  trial {number}: validation {learner.monitor}="
            f"{abs(value):.4f}, {progress.epoch} epochs, "
            f"{progress.seconds:.0f} s, {changes}"
        )
        return Outcome(value, self._details(flags, progress))

    def sweep(self, contender: Contender, best: int) -> None:
        """Deletes checkpoints, and the weights of all but the best trial."""
        kept = self._trial_place(contender, best)
        for place in self._place(contender).glob("trial-*"):
            # Not earlier: a killed trial resumes from its checkpoint.
            shutil.rmtree(
                place / "training" if place == kept else place,
                ignore_errors=True,
            )

    def repeat(
        self,
        contender: Contender,
        chosen: Row | None,
        seed: int,
        prepared: PreparedData,
    ) -> Row:
        """Trains once with the chosen flags, and tests the model once.

        Args:
            contender: the contender.
            chosen: record of the best trial; `None` without trials.
            seed: seed of the training.
            prepared: data of that seed.

        Returns:
            The row, which is read where it was written before.

        Raises:
            UserError: the row was written with other flags.
        """
        place, flags, is_trial = self._chosen(contender, chosen, seed)
        kept = self._kept(contender, seed, flags)
        if kept is not None:
            return kept
        with self._learner(place, flags, prepared, contender) as learner:
            if is_trial:
                model, details = learner.load(contender.stage), chosen
            else:
                model, progress = learner.train(contender.stage)
                learner.save(contender.stage, model)
                details = self._details(flags, progress)
            row = self._test(contender.name, model, learner, details)
        shutil.rmtree(place / "training", ignore_errors=True)
        return row

    def compress(
        self,
        contender: Contender,
        chosen: Row | None,
        seed: int,
        prepared: PreparedData,
    ) -> None:
        """Prunes a distilled student, converts it to int8, and tests both."""
        pruned, int8 = (contender.name + ending for ending in COMPRESSED)
        if self._row(pruned, seed) and self._row(int8, seed):
            return
        place, flags, _ = self._chosen(contender, chosen, seed)
        with self._learner(place, flags, prepared, contender) as learner:
            model, progress = learner.train("pruned")
            learner.save("pruned", model)
            details = self._details(flags, progress)
            if not self._row(pruned, seed):
                self._test(pruned, model, learner, details)
            details = {**details, "validation": None, "train_seconds": 0.0}
            self._test(int8, self.int8(model, learner), learner, details)
        shutil.rmtree(place / "training", ignore_errors=True)

    def teacher(
        self, seed: int, prepared: PreparedData, *, is_test: bool
    ) -> None:
        """Trains or takes the teacher, and measures the references once."""
        costs = self.teachers.get(prepared, seed)
        file = f"teachers/validation-{seed}.json"
        validation = self.run.read_json(file)
        missing = [n for n in self.references if not self._row(n, seed)]
        if validation is not None and not (missing and is_test):
            return
        tf.keras.backend.clear_session()
        learner = self.teachers.learner(prepared, seed)
        with contextlib.closing(learner.run):
            if validation is None:
                validation = self.validate_teacher(learner)
                self.run.write_json(file, validation)
            for name in missing if is_test else ():
                model, details = self.reference(name, learner, validation)
                flags = learner.config.flat()
                details = {**(costs.get(name) or {}), **details, "flags": flags}
                self._test(name, model, learner, details)

    def _place(self, contender: Contender, *parts: str) -> Path:
        return self.run.directory.joinpath(
            "trainings", contender.folder, *parts
        )

    def _trial_place(self, contender: Contender, number: int) -> Path:
        return self._place(contender, f"trial-{number:03d}")

    def _chosen(
        self, contender: Contender, chosen: Row | None, seed: int
    ) -> tuple[Path, dict[str, Any], bool]:
        """Folder and flags of a repeat; whether the best trial is the same."""
        flags = {**(chosen["flags"] if chosen else contender.flat)}
        flags["seed"] = seed
        if chosen and seed == self.config.seed:
            trial = self._trial_place(contender, chosen["number"])
            if (trial / "weights" / f"{contender.stage}.npz").exists():
                return trial, flags, True
        return self._place(contender, f"seed-{seed}"), flags, False

    @contextlib.contextmanager
    def _learner(
        self,
        place: Path,
        flags: dict[str, Any],
        prepared: PreparedData,
        contender: Contender,
    ) -> Iterator[Learner]:
        tf.keras.backend.clear_session()
        config = type(self.config).from_flat(flags)
        with contextlib.closing(Run(place, config, log=False)) as run:
            if contender.stage != DISTILLED:
                yield self.learner_type(run, prepared)
                return
            self.teachers.lend(run)
            try:
                yield self.learner_type(run, prepared)
            finally:
                self.teachers.adopt(run)

    def _details(self, flags: dict[str, Any], progress: Progress) -> Row:
        best = progress.history[progress.best_epoch - 1]
        return {
            "validation": {k: v for k, v in best.items() if k != "epoch"},
            "train_seconds": progress.seconds,
            "epochs": progress.epoch,
            "best_epoch": progress.best_epoch,
            "flags": flags,
            "commit": self._commit,
        }

    def _row(self, name: str, seed: int) -> Row | None:
        """The row of a test; `None` if the model was not tested."""
        folder = folder_name(name)
        return self.run.read_json(f"results/{folder}/seed-{seed}.json")

    def _kept(
        self, contender: Contender, seed: int, flags: dict[str, Any]
    ) -> Row | None:
        kept = self._row(contender.name, seed)
        changes = _changes(flags, kept["flags"]) if kept else ""
        if changes:
            raise UserError(
                f"{contender.name} should be compared by the flags that it was "
                f"tested with in {self.run.directory}. Received: {changes}. "
                "Use another `--run_dir`."
            )
        return kept

    def _test(
        self, name: str, model: Any, learner: Learner, details: Row
    ) -> Row:
        """Measures a model on the test data; the row is written last."""
        row, arrays = self.measure(name, model, learner)
        seed, folder = learner.config.seed, folder_name(name)
        row = {"method": name, "seed": seed, **row}
        row |= {key: details.get(key) for key in _DETAILS}
        row["commit"] = details.get("commit", self._commit)
        path = self.run.path("results", folder, f"seed-{seed}.npz")
        with path.open("wb") as file:
            np.savez(file, **arrays)
        self.run.write_json(f"results/{folder}/seed-{seed}.json", row)
        return row


def _changes(new: Mapping[str, Any], old: Mapping[str, Any]) -> str:
    """The flags that changed, as on the command line."""
    texts = {name: flag_text(value) for name, value in new.items()}
    return " ".join(
        f"--{name}={text}"
        for name, text in texts.items()
        if name != "seed" and text != flag_text(old.get(name))
    )
