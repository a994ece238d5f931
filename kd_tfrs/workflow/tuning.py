"""A search on validation data that can be stopped and resumed.

Optuna proposes points (TPE) and stops trials that are worse than the median
(median pruning). Each finished trial is one JSON file. A proposal depends on
these files and on the seed alone, so the same command resumes the search,
inside the trial that was stopped.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.lead import is_error
from kd_tfrs.files import replacing
from kd_tfrs.workflow.learner import Learner
from kd_tfrs.workflow.packages import require_package
from kd_tfrs.workflow.run import read_json
from kd_tfrs.workflow.training import Progress, read_progress

# Random trials before TPE; the first trial is given.
_STARTUP_TRIALS = 3
_PRUNER_STARTUP_TRIALS = 2
# Spaces are small: a point that was tried before is proposed again.
_ATTEMPTS = 20
Report = Callable[[int, float], None]


class Pruned(Exception):  # noqa: N818 - a signal, not an error
    """Raised by a report to stop a trial early."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of a trial that was not pruned.

    Args:
        value: the monitored validation metric at its best epoch.
        details: further fields of the record, as JSON.
    """

    value: float
    details: dict[str, Any] = dataclasses.field(default_factory=dict)


Objective = Callable[[int, dict[str, Any], Report], Outcome]


@dataclasses.dataclass(frozen=True)
class Search:
    """Trials on one space.

    Args:
        directory: folder of the trials' files.
        space: choices by name.
        first: the point of the first trial.
        seed: seed of the proposals.
        warmup_epochs: epochs before a trial may be pruned.

    Example:
    ```python
    search = Search(Path("runs/search"), {"x": (1, 2, 3)}, {"x": 2})
    search.run(lambda number, point, report: Outcome(-point["x"]), trials=3)
    search.best()["point"]
    ```
    """

    directory: Path
    space: Mapping[str, tuple]
    first: Mapping[str, Any]
    seed: int = 0
    warmup_epochs: int = 10

    def run(self, objective: Objective, trials: int) -> list[dict[str, Any]]:
        """Runs trials until `trials` of them are finished.

        Args:
            objective: is called with the number of the trial, its point, and
                a function that takes an epoch and a value and may raise
                `Pruned`.
            trials: number of trials, pruned and earlier ones included.

        Returns:
            One record per trial: "number", "point", "state" ("complete" or
            "pruned"), "value", "values" by epoch, and the details.

        Raises:
            UserError: the folder holds trials of another space.
            ImportError: there is more than one trial and optuna is not
                installed.
        """
        records = self.records()
        while len(records) < trials:
            record = self._trial(objective, records)
            self._write(record)
            records.append(record)
        return records

    def records(self) -> list[dict[str, Any]]:
        """The finished trials, in order.

        Raises:
            UserError: the trials are of another space.
        """
        records = []
        while (path := self._path(len(records))).exists():
            records.append(read_json(path))
        for record in records:
            self._check(record)
        return records

    def best(self) -> dict[str, Any]:
        """The record of the best trial; the first of several equal ones."""
        done = [r for r in self.records() if r["state"] == "complete"]
        return max(done, key=lambda record: record["value"])

    def _trial(
        self, objective: Objective, records: list[dict[str, Any]]
    ) -> dict[str, Any]:
        number = len(records)
        trial, point = None, dict(self.first)
        if number:
            trial, point = self._propose(records)
        values: dict[int, float] = {}

        def report(epoch: int, value: float) -> None:
            values[epoch] = value
            if trial is not None:
                trial.report(value, epoch)
                if trial.should_prune():
                    raise Pruned

        record = {"number": number, "point": point}
        try:
            outcome = objective(number, point, report)
        except Pruned:
            best = max(values.values())
            record |= {"state": "pruned", "value": best, "values": values}
        else:
            record |= {
                "state": "complete",
                "value": outcome.value,
                "values": values,
                **outcome.details,
            }
        # As it is read again: the keys of JSON are strings.
        return json.loads(json.dumps(record))

    def _propose(
        self, records: list[dict[str, Any]]
    ) -> tuple[Any, dict[str, Any]]:
        """The next point by Optuna, from all earlier records."""
        optuna = _optuna()
        spread = {
            name: optuna.distributions.CategoricalDistribution(choices)
            for name, choices in self.space.items()
        }
        study = optuna.create_study(
            direction="maximize",
            # Depends on the trial's number, or a resumed search would repeat.
            sampler=optuna.samplers.TPESampler(
                seed=1000 * self.seed + len(records),
                n_startup_trials=_STARTUP_TRIALS,
            ),
            pruner=optuna.pruners.MedianPruner(
                n_startup_trials=_PRUNER_STARTUP_TRIALS,
                n_warmup_steps=self.warmup_epochs,
            ),
        )
        for record in records:
            study.add_trial(_frozen(optuna, record, spread))
        tried = [record["point"] for record in records]
        for attempt in range(2 * _ATTEMPTS):
            if attempt >= _ATTEMPTS:  # TPE repeats known points
                study.enqueue_trial(self._draw(1000 * len(records) + attempt))
            trial = study.ask(spread)
            if trial.params not in tried:
                break
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            trial = study.ask(spread)
        return trial, dict(trial.params)

    def _draw(self, number: int) -> dict[str, Any]:
        """A random point, the same for the same number."""
        draw = random.Random(1_000_000 * self.seed + number)
        return {name: draw.choice(v) for name, v in self.space.items()}

    def _path(self, number: int) -> Path:
        return self.directory / f"trial-{number:03d}.json"

    def _write(self, record: dict[str, Any]) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        with replacing(self._path(record["number"])) as partial:
            partial.write_text(json.dumps(record, indent=1) + "\n", "utf-8")

    def _check(self, record: dict[str, Any]) -> None:
        point = record["point"]
        fits = point.keys() == self.space.keys() and all(
            value in self.space[name] for name, value in point.items()
        )
        if not fits:
            raise UserError(
                f"Trials in {self.directory} should be of the space that is "
                f"searched now. Received: trial {record['number']} at {point}. "
                "Use the flags it was started with, or another `--run_dir`."
            )


def train_reporting(
    learner: Learner, stage: str, report: Report
) -> tuple[Any, Progress]:
    """Trains a stage and reports every validation, earlier ones included.

    Args:
        learner: the trial's learner.
        stage: "teacher", "student" or "distilled"; "teacher_dcn" and the
            like of rankers.
        report: is called with the epoch and the monitored metric; an error
            is multiplied by -1.

    Returns:
        See `Learner.train`.
    """
    every, monitor = learner.config.evaluation.validate_every, learner.monitor
    sign = -1.0 if is_error(monitor) else 1.0
    # Of rankers a teacher's stage also names its network.
    epochs = getattr(learner.config, stage.partition("_")[0]).epochs
    before = read_progress(learner.run.directory / "training" / stage)
    for row in before.history:
        if monitor in row:
            report(row["epoch"], sign * row[monitor])
    epoch = before.epoch

    def watch(metrics: dict[str, float]) -> None:
        nonlocal epoch
        epoch = min(every * (epoch // every + 1), epochs)
        report(epoch, sign * metrics[monitor])

    return learner.train(stage, watch)


def best_value(learner: Learner, progress: Progress) -> float:
    """The value of a trial; larger is better.

    Args:
        learner: the trial's learner.
        progress: progress of its training.

    Returns:
        The monitored metric at the best epoch; an error is multiplied by -1.
    """
    value = progress.history[progress.best_epoch - 1][learner.monitor]
    return -value if is_error(learner.monitor) else value


def _frozen(optuna: Any, record: dict[str, Any], spread: dict) -> Any:
    states = optuna.trial.TrialState
    return optuna.trial.create_trial(
        params=record["point"],
        distributions=spread,
        value=record["value"],
        state=getattr(states, record["state"].upper()),
        intermediate_values={int(k): v for k, v in record["values"].items()},
    )


def _optuna() -> Any:
    require_package("Tuning", "optuna", "search")
    import optuna

    # Its log repeats ours.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
