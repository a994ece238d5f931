"""Methods against the student alone, all with one budget of trials.

Everything is tuned on validation events with the first seed; what was chosen
is then repeated with every seed, and only these repeats are asked the test
events, once each. A screening has no repeats, so that what is dropped after
it was never tested.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.retrieval import comparison_report
from kd_tfrs.workflow.retrieval.comparison_overview import (
    overview,
    overview_markdown,
)
from kd_tfrs.workflow.retrieval.comparison_training import Trainings
from kd_tfrs.workflow.retrieval.config import Config
from kd_tfrs.workflow.retrieval.contenders import ALONE, Contender, contenders
from kd_tfrs.workflow.retrieval.prepare import (
    Prepared,
    prepare,
    prepare_interactions,
)
from kd_tfrs.workflow.retrieval.shared_teachers import SharedTeachers
from kd_tfrs.workflow.retrieval.tuning import Search
from kd_tfrs.workflow.run import Run, read_json

logger = logging.getLogger(__name__)
Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Plan:
    """Who takes part, and the budget, which is the same for everybody.

    Args:
        methods: see `kd_tfrs.workflow.retrieval.contenders.contenders`.
        trials: on validation events for each; with 0 the given flags are
            taken as they are.
        seeds: repeats of what was chosen; 0 for a screening on validation
            events, which has one trial at least.
        warmup_epochs: before a trial may be pruned.
        teacher_dir: finished runs whose teachers are taken, or `None`.
        compress: prune the distilled student that validation likes best, and
            make it an int8 file; rankers only.

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
    config: Config,
    run_dir: str | os.PathLike,
    plan: Plan,
    *,
    say: Say = print,
) -> dict[str, Any]:
    """Runs a comparison, or goes on with one that was stopped.

    Args:
        config: options of everybody; its seed is the first one.
        run_dir: where everything is kept.
        plan: who takes part, and the budget.
        say: prints a line for a person.

    Returns:
        What stands in `comparison.json`.

    Raises:
        UserError: a mistake in the options or the data; or a method that
            failed, when all the others are done.

    Example:
    ```python
    found = compare(Config(), "runs/mine", Plan(["soft_targets"], seeds=3))
    found["test"]["methods"][0]["verdict"]
    ```
    """
    taking_part = contenders(plan.methods, config)
    with contextlib.closing(Run(run_dir, config)) as run:
        return Comparison(run, plan, taking_part, say).run_all()


def compare_data_sets(
    configs: Mapping[str, Config],
    run_dir: str | os.PathLike,
    plan: Plan,
    *,
    say: Say = print,
    compare_one: Callable[..., dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """A comparison on each of several data sets, and an overview.

    Args:
        configs: options by the name of a folder below `run_dir`.
        run_dir: holds those folders and the overview.
        plan: for each; its teachers are looked for in folders of those names.
        say: prints a line for a person.
        compare_one: what compares on one data set; `compare` when `None`.

    Returns:
        What stands in `overview.json`.

    Raises:
        UserError: see `compare`; when the other data sets are done.
    """
    found, mistakes = {}, []
    if compare_one is None:
        compare_one = compare
        for config in configs.values():
            contenders(plan.methods, config)
    for name, config in configs.items():
        say(f"\n{name}")
        own = plan
        if plan.teacher_dir:
            teachers = Path(plan.teacher_dir) / name
            own = dataclasses.replace(plan, teacher_dir=teachers)
        try:
            found[name] = compare_one(
                config, Path(run_dir) / name, own, say=say
            )
        except UserError as error:
            say(f"{name}: {error}")
            mistakes.append(f"{name}: {error}")
            kept = Path(run_dir) / name / "comparison.json"
            if kept.exists():  # what did not fail counts
                found[name] = read_json(kept)
    table = overview(found)
    text = overview_markdown(table)
    for file, content in (
        ("overview.json", json.dumps(table, indent=1) + "\n"),
        ("overview.md", text),
    ):
        (Path(run_dir) / file).write_text(content, "utf-8")
    say(f"\n{text}")
    if mistakes:
        raise UserError(" ".join(mistakes))
    return table


class Comparison:
    """A comparison in its run folder; of retrieval, if not overridden.

    Args:
        run: the folder.
        plan: who takes part, and the budget.
        taking_part: the contenders, the student alone first.
        say: prints a line for a person.
    """

    teachers_type: ClassVar[type] = SharedTeachers
    trainings_type: ClassVar[type] = Trainings

    def __init__(
        self, run: Run, plan: Plan, taking_part: list[Contender], say: Say
    ) -> None:
        self.run = run
        self.config = run.config
        self.plan = plan
        self.contenders = taking_part
        self.trials = plan.trials if plan.seeds else max(1, plan.trials)
        self._tell = say
        self.teachers = self.teachers_type(
            run.directory / "teachers",
            run.config,
            Path(plan.teacher_dir) if plan.teacher_dir else None,
        )
        self.trainings = self.trainings_type(run, self.teachers, self.say)
        self.failed: dict[str, str] = {}
        self._prepared: tuple[int, Prepared] | None = None

    def say(self, text: str) -> None:
        """To the person, and into the log."""
        self._tell(text)
        logger.info("%s", text.strip())

    def run_all(self) -> dict[str, Any]:
        """Does what is not done yet.

        Returns:
            What stands in `comparison.json`.

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
        self.finish()
        found = self.report(final=True)
        self._tell(f"\n{self.markdown(found)}")
        if self.failed:
            raise UserError(
                f"{len(self.failed)} of {len(self.contenders)} failed: "
                + "; ".join(f"{k}: {v}" for k, v in self.failed.items())
                + f". See {self.run.directory}/log.txt; the same command "
                "tries these again."
            )
        return found

    def prepared(self, seed: int) -> Prepared:
        """Data as split for a seed; read once, one split at a time is kept."""
        config = self.config
        if self._prepared is None:
            fresh = prepare(config.data, config.evaluation, seed)
            self.run.check_data(fresh.fingerprint())
            self._prepared = seed, fresh
        elif self._prepared[0] != seed:
            fresh = prepare_interactions(
                self._prepared[1].interactions,
                split=config.data.split,
                evaluation=config.evaluation,
                seed=seed,
            )
            self._prepared = seed, fresh
        return self._prepared[1]

    def _check_budget(self) -> None:
        """Once a test was asked, nobody is tuned any more."""
        kept = self.run.read_json("budget.json") or {"trials": self.trials}
        tested = any((self.run.directory / "results").glob("*/seed-*.json"))
        if tested and kept["trials"] != self.trials:
            raise UserError(
                "`--trials` should stay as it was once test events were "
                f"asked. Received: {self.trials}, was {kept['trials']}. Use "
                "another `--run_dir`."
            )
        self.run.write_json("budget.json", {"trials": self.trials})

    def _tune_all(self, prepared: Prepared) -> None:
        self.trainings.teacher(self.config.seed, prepared, is_test=False)
        for place, one in enumerate(self.contenders, 1):
            with self._guarded(one):
                search = self._search(one)
                done = len(search.records())
                self.say(
                    f"[{place}/{len(self.contenders)}] {one.name}: "
                    f"{done} of {self.trials} trials done"
                )
                search.run(
                    lambda number, point, report, one=one: self.trainings.trial(
                        one, number, point, report, prepared
                    ),
                    self.trials,
                )
                self.trainings.sweep(one, search.best()["number"])
                self.report()

    def _repeat_all(self, seed: int) -> None:
        prepared = self.prepared(seed)
        self.trainings.teacher(seed, prepared, is_test=True)
        for place, one in enumerate(self.contenders, 1):
            if one.name in self.failed:
                continue
            with self._guarded(one):
                row = self.trainings.repeat(
                    one, self.chosen(one), seed, prepared
                )
                monitor = self.monitor
                self.say(
                    f"seed {seed} [{place}/{len(self.contenders)}] {one.name}: "
                    f"validation {monitor}={row['validation'][monitor]:.4f}, "
                    f"{row['epochs']} epochs, {row['train_seconds']:.0f} s"
                )
        self.report()

    @contextlib.contextmanager
    def _guarded(self, one: Contender) -> Iterator[None]:
        """Lets the others go on where one method fails."""
        try:
            yield
        except Exception as error:
            if one.name == ALONE:
                raise
            logger.exception("%s failed", one.name)
            text = " ".join(str(error).split())[:300]
            self.failed[one.name] = f"{type(error).__name__}: {text}"
            self.say(f"{one.name} failed, the others go on: {text}")

    def _search(self, one: Contender) -> Search:
        return Search(
            self.run.directory / "trials" / one.folder,
            one.space,
            one.first,
            self.config.seed,
            self.plan.warmup_epochs,
        )

    def chosen(self, one: Contender) -> dict[str, Any] | None:
        """The record of a contender's best trial; `None` without trials."""
        return self._search(one).best() if self.trials else None

    @property
    def monitor(self) -> str:
        """The validation metric that decides."""
        return self.config.evaluation.monitor

    def fitting(self, prepared: Prepared) -> list[Contender]:
        """The contenders, once the data are known."""
        del prepared
        return self.contenders

    def finish(self) -> None:
        """What follows when all seeds are done; nothing here."""

    def report(self, *, final: bool = False) -> dict[str, Any]:
        """Writes down what is done; tests that take long, at the end alone."""
        del final
        return comparison_report.write(self.run, self.plan.seeds, self.trials)

    def markdown(self, found: Mapping[str, Any]) -> str:
        """What a person reads of what was found."""
        return comparison_report.markdown(found)
