"""The trainings of a comparison: trials, repeats, and one test for each."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.retrieval import measure
from kd_tfrs.workflow.retrieval.comparison_summary import (
    TEACHER,
    TESTED,
    Row,
    flag_text,
)
from kd_tfrs.workflow.retrieval.contenders import ALONE, Contender
from kd_tfrs.workflow.retrieval.learner import DISTILLED, Learner
from kd_tfrs.workflow.retrieval.prepare import Prepared
from kd_tfrs.workflow.retrieval.shared_teachers import SharedTeachers
from kd_tfrs.workflow.retrieval.tuning import (
    Outcome,
    Pruned,
    Report,
    best_value,
    train_reporting,
)
from kd_tfrs.workflow.run import Run, environment
from kd_tfrs.workflow.training import Progress

_TOLD = ("validation", "train_seconds", "epochs", "best_epoch", "flags")


class Trainings:
    """Trains contenders in folders of their own, and keeps what was found.

    Args:
        run: the comparison's.
        teachers: what the students learn from.
        say: prints a line for a person.
    """

    learner_type: ClassVar[type] = Learner

    def __init__(
        self, run: Run, teachers: SharedTeachers, say: Callable[[str], None]
    ) -> None:
        self.run = run
        self.config = run.config
        self.teachers = teachers
        self.say = say
        self._commit = environment()["commit"]

    def trial(
        self,
        one: Contender,
        number: int,
        point: dict[str, Any],
        report: Report,
        prepared: Prepared,
    ) -> Outcome:
        """Trains at a point of the space; the test events are not asked.

        Args:
            one: who.
            number: of the trial.
            point: values by flag name.
            report: see `Search.run`.
            prepared: data of the first seed.

        Returns:
            The monitored metric at the best epoch, and how it came to be.
        """
        place = self._trial_place(one, number)
        flags = {**one.flags(point), "seed": self.config.seed}
        where = _differences(point, one.first)
        with self._learner(place, flags, prepared, one) as learner:
            try:
                model, progress = train_reporting(learner, one.stage, report)
            except Pruned:
                self.say(f"  trial {number}: given up early, {where}")
                raise
            learner.save(one.stage, model)
        value = best_value(learner, progress)
        self.say(
            f"  trial {number}: validation {learner.monitor}="
            f"{abs(value):.4f}, {progress.epoch} epochs, "
            f"{progress.seconds:.0f} s, {where}"
        )
        return Outcome(value, self._details(flags, progress))

    def sweep(self, one: Contender, best: int) -> None:
        """Keeps the weights of the best trial alone, and no checkpoints.

        Args:
            one: whose trials are over.
            best: number of the best one.
        """
        kept = self._trial_place(one, best)
        for place in self._place(one).glob("trial-*"):
            # Checkpoints until here: a kill may come before a record stands.
            shutil.rmtree(
                place / "training" if place == kept else place,
                ignore_errors=True,
            )

    def repeat(
        self, one: Contender, chosen: Row | None, seed: int, prepared: Prepared
    ) -> Row:
        """One training with the chosen flags, and its one test.

        Args:
            one: who.
            chosen: the record of the best trial; `None` without trials.
            seed: of the training.
            prepared: data of that seed.

        Returns:
            What was found; read where it was found before.

        Raises:
            UserError: it was found with other flags.
        """
        flags = {**(chosen["flags"] if chosen else one.flat), "seed": seed}
        kept = self._kept(one, seed, flags)
        if kept is not None:
            return kept
        place, details = self._place(one, f"seed-{seed}"), None
        tried = self._tried(one, chosen, seed)
        if tried is not None:
            # The best trial was this very training.
            place, details = tried, chosen
        with self._learner(place, flags, prepared, one) as learner:
            if details is None:
                model, progress = learner.train(one.stage)
                learner.save(one.stage, model)
                details = self._details(flags, progress)
            else:
                model = learner.load(one.stage)
            row = self._test(one.name, one.folder, model, learner, details)
        shutil.rmtree(place / "training", ignore_errors=True)
        return row

    def teacher(self, seed: int, prepared: Prepared, *, is_test: bool) -> None:
        """Makes sure of a teacher, and measures it once.

        Args:
            seed: of the teacher.
            prepared: data of that seed.
            is_test: ask the test events too.
        """
        validated = f"teachers/validation-{seed}.json"
        cost = self.teachers.get(prepared, seed)
        validation = self.run.read_json(validated)
        tested = self.run.read_json(f"results/{TEACHER}/seed-{seed}.json")
        if tested or (validation and not is_test):
            return
        tf.keras.backend.clear_session()
        learner = self.teachers.learner(prepared, seed)
        with contextlib.closing(learner.run):
            model = learner.load(TEACHER)
            if validation is None:
                validation = measure.validate(
                    model, learner.encoded(TEACHER), prepared
                )
                self.run.write_json(validated, validation)
            if is_test:
                flags = learner.config.flat()
                details = {**cost, "validation": validation, "flags": flags}
                self._test(TEACHER, TEACHER, model, learner, details)

    def _place(self, one: Contender, *parts: str) -> Path:
        return self.run.directory.joinpath("trainings", one.folder, *parts)

    def _trial_place(self, one: Contender, number: int) -> Path:
        return self._place(one, f"trial-{number:03d}")

    def _tried(
        self, one: Contender, chosen: Row | None, seed: int
    ) -> Path | None:
        """The folder of the best trial, where a repeat would be the same."""
        if not chosen or seed != self.config.seed:
            return None
        tried = self._trial_place(one, chosen["number"])
        there = (tried / "weights" / f"{one.stage}.npz").exists()
        return tried if there else None

    @contextlib.contextmanager
    def _learner(
        self,
        place: Path,
        flags: dict[str, Any],
        prepared: Prepared,
        one: Contender,
    ) -> Iterator[Learner]:
        tf.keras.backend.clear_session()
        config = type(self.config).from_flat(flags)
        with contextlib.closing(Run(place, config, log=False)) as run:
            if one.name == ALONE:
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

    def _kept(
        self, one: Contender, seed: int, flags: dict[str, Any]
    ) -> Row | None:
        kept = self.run.read_json(f"results/{one.folder}/seed-{seed}.json")
        if kept is not None and kept["flags"] != _plain(flags):
            raise UserError(
                f"{one.name} should be compared by the flags that it was "
                f"tested with in {self.run.directory}. Received: "
                f"{_differences(flags, kept['flags'])}. Use another "
                "`--run_dir`."
            )
        return kept

    def _test(
        self,
        name: str,
        folder: str,
        model: Any,
        learner: Learner,
        details: Row,
    ) -> Row:
        """Asks the test events, and writes the row last."""
        row, arrays = self._measure(name, model, learner)
        seed = learner.config.seed
        row = {"method": name, "seed": seed, **row}
        row |= {key: details.get(key) for key in _TOLD}
        row["commit"] = details.get("commit", self._commit)
        path = self.run.path("results", folder, f"seed-{seed}.npz")
        with path.open("wb") as file:
            np.savez(file, **arrays)
        self.run.write_json(f"results/{folder}/seed-{seed}.json", row)
        return row

    def _measure(
        self, name: str, model: Any, learner: Learner
    ) -> tuple[Row, dict[str, np.ndarray]]:
        """What a row says, its metrics above all, and what tests need."""
        prepared: Prepared = learner.prepared
        stage = name if name in (TEACHER, ALONE) else DISTILLED[0]
        embedded = measure.embed(model, learner.encoded(stage), prepared)
        metrics, per_user = measure.quality(embedded.scorer(prepared), prepared)
        values = {metric: per_user[metric] for metric in TESTED}
        return (
            {"metrics": metrics},
            {"user": _user_numbers(prepared), **values},
        )


def _user_numbers(prepared: Prepared) -> np.ndarray:
    """[users] numbers that stay the same for every split; ids stay out."""
    interactions = prepared.interactions
    known = np.unique(interactions.events[interactions.schema.user_id])
    return np.searchsorted(known, prepared.test.users)


def _differences(new: Mapping[str, Any], old: Mapping[str, Any]) -> str:
    """What is other than before, in a few words."""
    changed = [
        f"--{name}={flag_text(value)}"
        for name, value in new.items()
        if name != "seed" and _plain(value) != _plain(old.get(name))
    ]
    return " ".join(changed) or "as given"


def _plain(value: Any) -> Any:
    """As JSON would give it back."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value
