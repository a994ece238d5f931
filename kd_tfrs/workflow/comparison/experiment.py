"""Methods against the student alone, all with the same budget of trials.

Every contender is tuned on validation data of the first seed. The chosen flags
are then trained with every seed, and only these repeats use the test data,
once each. A screening has no repeats and uses no test data, so a method may
be dropped after it without a bias.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.lead import is_error
from kd_tfrs.workflow.comparison import report
from kd_tfrs.workflow.comparison.contenders import (
    ALONE,
    Contender,
    Family,
    contenders,
    tuned_contender,
)
from kd_tfrs.workflow.comparison.findings import (
    Findings,
    Roles,
    Row,
    Rows,
    TestArrays,
    UserTest,
    read_results,
    screening,
)
from kd_tfrs.workflow.comparison.trainings import COMPRESSED, Trainings
from kd_tfrs.workflow.learner import PreparedData
from kd_tfrs.workflow.options import FlatConfig
from kd_tfrs.workflow.report import of_run
from kd_tfrs.workflow.run import Run
from kd_tfrs.workflow.shared_teachers import SharedTeachers
from kd_tfrs.workflow.tuning import Search

logger = logging.getLogger(__name__)
Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Plan:
    """The methods of a comparison, and the budget of each contender.

    Args:
        methods: see `kd_tfrs.workflow.comparison.contenders.contenders`.
        trials: trials of each contender on validation data; 0 to use the
            given flags.
        seeds: repeats of the chosen flags; 0 for a screening on validation
            data, which has one trial at least.
        warmup_epochs: epochs before a trial may be pruned.
        teacher_dir: finished runs whose teachers are taken, or `None`.
        compress: whether the distilled student with the best validation is
            pruned and converted to int8.

    Example:
    ```python
    Plan(["soft_targets", "rrd"], trials=6, seeds=5)
    ```
    """

    methods: Sequence[str]
    trials: int = 0
    seeds: int = 1
    warmup_epochs: int = 10
    teacher_dir: str | os.PathLike | None = None
    compress: bool = False


def compare(
    task: type[Comparison],
    config: FlatConfig,
    run_dir: str | os.PathLike,
    plan: Plan,
    *,
    say: Say = print,
) -> dict[str, Any]:
    """Runs a comparison, or resumes one that was stopped.

    Raises:
        UserError: a mistake in the options or the data, or a method that
            failed; the latter is raised after the other methods.

    Example:
    ```python
    plan = Plan(["soft_targets"], seeds=3)
    results = compare(RetrievalComparison, Config(), "runs/mine", plan)
    results["test"]["methods"][0]["verdict"]
    ```
    """
    task.named(plan.methods, config)  # Checks the names before data are read.
    with contextlib.closing(Run(run_dir, config)) as run:
        return task(run, plan, say).run_all()


class Comparison(abc.ABC):
    """A comparison in its run folder; a task is a subclass.

    Args:
        run: the run folder.
        plan: methods and budget.
        say: prints a line.
    """

    family: ClassVar[Family]
    trainings_type: ClassVar[type[Trainings]]

    def __init__(self, run: Run, plan: Plan, say: Say) -> None:
        self.run = run
        self.config = run.config
        self.plan = plan
        self.contenders = self.named(plan.methods, run.config)
        self.trials = plan.trials if plan.seeds else max(1, plan.trials)
        self._print = say
        self.teachers = self.shared_teachers(
            run.directory / "teachers",
            Path(plan.teacher_dir) if plan.teacher_dir else None,
        )
        self.trainings = self.trainings_type(
            run, self.teachers, self.references, self.say
        )
        self.failed: dict[str, str] = {}
        self._prepared: tuple[int, Any] | None = None

    @classmethod
    def named(cls, names: Sequence[str], config: FlatConfig) -> list[Contender]:
        """The contenders before the data are read; see `contenders`."""
        return contenders(names, config, cls.family)

    @abc.abstractmethod
    def shared_teachers(
        self, directory: Path, source: Path | None
    ) -> SharedTeachers:
        """The teachers of all students; see `SharedTeachers`."""

    @abc.abstractmethod
    def prepare(self, seed: int) -> PreparedData:
        """Reads the data and splits them for a seed."""

    @abc.abstractmethod
    def split_again(self, prepared: Any, seed: int) -> PreparedData:
        """Splits the same data for another seed."""

    @abc.abstractmethod
    def metrics(self, rows: Rows) -> dict[str, bool]:
        """The tested metrics, the main one first, and whether less is better.

        `rows` are the tested rows by model; none if nothing is tested yet.
        """

    @abc.abstractmethod
    def user_test(self, arrays: TestArrays, *, final: bool) -> UserTest:
        """The paired test over users.

        `arrays` are those of `Trainings.measure`; `final` is whether all
        trainings are done, so that a long test is due.
        """

    @property
    def roles(self) -> Roles:
        """The tested models that are no methods."""
        return Roles(compressed=COMPRESSED)

    def tuned(self, stage: str) -> Contender:
        """The contender for a search of one stage; see `tuned_contender`."""
        return tuned_contender(stage, self.config, self.family)

    @property
    def references(self) -> tuple[str, ...]:
        """The models that are tested beside the contenders."""
        return self.roles.references

    @property
    def monitor(self) -> str:
        """The validation metric that selects trials."""
        return self.config.evaluation.monitor

    @property
    def tasks(self) -> dict[str, str]:
        """Kinds of the learned tasks by name, if there are several kinds."""
        return {}

    def fitting(self, prepared: Any) -> list[Contender]:
        """The contenders that fit the data."""
        del prepared
        return self.contenders

    def further(self, rows: Rows) -> dict[str, Any]:
        """Names of "metrics" that are shown without a test, and a "note"."""
        del rows
        return {"note": "", "metrics": []}

    def say(self, text: str) -> None:
        """Prints a line and logs it."""
        self._print(text)
        logger.info("%s", text.strip())

    def run_all(self) -> dict[str, Any]:
        """Runs everything that is not done yet.

        Raises:
            UserError: see `compare`.
        """
        first, seeds = self.config.seed, self.plan.seeds
        self._check_budget()
        self.teachers.check(list(range(first, first + max(1, seeds))))
        prepared = self.prepared(first)
        self.say(prepared.title)
        self.contenders = self.fitting(prepared)
        if self.trials:
            self._tune_all(prepared)
        for seed in range(first, first + seeds):
            self._repeat_all(seed)
        if self.plan.compress:
            self._compress_best()
        results = self.report(final=True)
        self._print(f"\n{report.markdown(results)}")
        if self.failed:
            raise UserError(
                f"{len(self.failed)} of {len(self.contenders)} failed: "
                + "; ".join(f"{k}: {v}" for k, v in self.failed.items())
                + f". See {self.run.directory}/log.txt; the same command "
                "tries these again."
            )
        return results

    def prepared(self, seed: int) -> Any:
        """The data, split for a seed; they are read once."""
        if self._prepared is None:
            data = self.prepare(seed)
            self.run.check_data(data.fingerprint())
            self._prepared = seed, data
        elif self._prepared[0] != seed:
            self._prepared = seed, self.split_again(self._prepared[1], seed)
        return self._prepared[1]

    def _check_budget(self) -> None:
        """Refuses further tuning once there are test results."""
        kept = self.run.read_json("budget.json") or {"trials": self.trials}
        tested = any((self.run.directory / "results").glob("*/seed-*.json"))
        if tested and kept["trials"] != self.trials:
            raise UserError(
                "`--trials` should stay as it was once there are test "
                f"results. Received: {self.trials}, was {kept['trials']}. Use "
                "another `--run_dir`."
            )
        self.run.write_json("budget.json", {"trials": self.trials})

    def _tune_all(self, prepared: PreparedData) -> None:
        self.trainings.teacher(self.config.seed, prepared, is_test=False)
        for place, contender in enumerate(self.contenders, 1):
            with self._guarded(contender):
                done = len(self._search(contender).records())
                self.say(
                    f"[{place}/{len(self.contenders)}] {contender.name}: "
                    f"{done} of {self.trials} trials done"
                )
                self.tune(contender)
                self.report()

    def tune(self, contender: Contender) -> list[Row]:
        """Runs the trials of a contender that are not done yet."""
        search = self._search(contender)
        prepared = self.prepared(self.config.seed)
        records = search.run(
            lambda number, point, report: self.trainings.trial(
                contender, number, point, report, prepared
            ),
            self.trials,
        )
        self.trainings.sweep(contender, search.best()["number"])
        return records

    def _compress_best(self) -> None:
        """Compresses the distilled student with the best validation."""
        sign = -1.0 if is_error(self.monitor) else 1.0
        rows, _ = self.read()

        def validation(contender: Contender) -> float:
            values = [r["validation"] for r in rows[contender.name]]
            return sign * np.mean([row[self.monitor] for row in values])

        methods = (c for c in self.contenders if c.name != ALONE)
        tested = [method for method in methods if method.name in rows]
        best = max(tested, key=validation, default=None)
        first = self.config.seed
        for seed in range(first, first + self.plan.seeds) if best else ():
            with self._guarded(best):
                self.trainings.compress(
                    best, self.chosen(best), seed, self.prepared(seed)
                )
                self.say(f"seed {seed}: {best.name} pruned, and as int8")

    def _repeat_all(self, seed: int) -> None:
        prepared = self.prepared(seed)
        self.trainings.teacher(seed, prepared, is_test=True)
        for place, contender in enumerate(self.contenders, 1):
            if contender.name in self.failed:
                continue
            with self._guarded(contender):
                row = self.trainings.repeat(
                    contender, self.chosen(contender), seed, prepared
                )
                value = row["validation"][self.monitor]
                self.say(
                    f"seed {seed} [{place}/{len(self.contenders)}] "
                    f"{contender.name}: validation {self.monitor}="
                    f"{value:.4f}, {row['epochs']} epochs, "
                    f"{row['train_seconds']:.0f} s"
                )
        self.report()

    @contextlib.contextmanager
    def _guarded(self, contender: Contender) -> Iterator[None]:
        """Goes on with the other contenders where a method fails."""
        try:
            yield
        except Exception as error:
            if contender.name == ALONE:
                raise
            logger.exception("%s failed", contender.name)
            text = " ".join(str(error).split())[:300]
            self.failed[contender.name] = f"{type(error).__name__}: {text}"
            self.say(f"{contender.name} failed, the others go on: {text}")

    def _search(self, contender: Contender) -> Search:
        return Search(
            self.run.directory / "trials" / contender.folder,
            contender.space,
            contender.first,
            self.config.seed,
            self.plan.warmup_epochs,
        )

    def chosen(self, contender: Contender) -> Row | None:
        """The record of a contender's best trial; `None` without trials."""
        return self._search(contender).best() if self.trials else None

    def read(self) -> tuple[dict[str, list[Row]], TestArrays]:
        """The test results; see `read_results`."""
        flat = self.config.flat()
        return read_results(self.run.directory, flat, self.roles)

    def report(self, *, final: bool = False) -> dict[str, Any]:
        """Writes the files of the comparison."""
        rows, arrays = self.read()
        metrics, test = self.metrics(rows), None
        if ALONE in rows:
            users = self.user_test(arrays, final=final)
            test = Findings(rows, metrics, self.roles, users).summarise()
        results = self._results(rows, metrics, test)
        report.write(self.run, results)
        return results

    def _results(
        self,
        rows: Rows,
        metrics: Mapping[str, bool],
        test: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        run, config = self.run, self.config
        teacher = run.read_json(f"teachers/validation-{config.seed}.json")
        return {
            "dataset": config.data.dataset,
            "tasks": self.tasks,
            "seed": config.seed,
            "seeds": [row["seed"] for row in rows.get(ALONE, [])],
            "seeds_asked": self.plan.seeds,
            "trials": self.trials,
            "monitor": self.monitor,
            "tested": list(metrics),
            "further": self.further(rows),
            **of_run(run),
            "validation": {
                "teacher": teacher,
                "methods": screening(run.directory, config.flat(), self.roles),
            },
            "test": test,
        }
