"""A search on validation events that a kill does not disturb.

Optuna proposes (TPE) and gives up hopeless trials (median pruning). What has
ended stands in one JSON file a trial, and each proposal follows from these
files and the seed alone: the same command goes on as if nothing had happened,
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
from kd_tfrs.workflow.retrieval.learner import Learned, Learner
from kd_tfrs.workflow.run import read_json
from kd_tfrs.workflow.training import ERRORS, Progress, read_progress

# Random before TPE has something to learn from; the first trial is given.
_STARTUP_TRIALS = 3
_PRUNER_STARTUP_TRIALS = 2
# Spaces are small: a proposal that was tried before is asked for again.
_ATTEMPTS = 20
Report = Callable[[int, float], None]


class Pruned(Exception):  # noqa: N818 - a signal, not an error
    """Raised by a report where a trial is not worth going on with."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a trial that was not pruned came to.

    Args:
        value: of the monitored validation metric at its best epoch.
        details: more to be kept, as JSON.
    """

    value: float
    details: dict[str, Any] = dataclasses.field(default_factory=dict)


Objective = Callable[[int, dict[str, Any], Report], Outcome]


@dataclasses.dataclass(frozen=True)
class Search:
    """Trials of one thing on one space.

    Args:
        directory: where the trials' files are kept.
        space: choices by name.
        first: the point of the first trial.
        seed: of the proposals.
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
        """Runs trials until so many have ended, those of before counted.

        Args:
            objective: is given number, point, and a function to report epoch
                and value to, which may raise `Pruned`.
            trials: in all, pruned ones counted.

        Returns:
            A record a trial: "number", "point", "state" ("complete" or
            "pruned"), "value", "values" by epoch, and the details.

        Raises:
            UserError: trials of another space are kept there.
            ImportError: more than one trial, and no package optuna.
        """
        records = self.records()
        while len(records) < trials:
            record = self._trial(objective, records)
            self._write(record)
            records.append(record)
        return records

    def records(self) -> list[dict[str, Any]]:
        """The trials that have ended, in order.

        Returns:
            See `run`.

        Raises:
            UserError: they are of another space.
        """
        found = []
        while (path := self._path(len(found))).exists():
            found.append(read_json(path))
        for record in found:
            self._check(record)
        return found

    def best(self) -> dict[str, Any]:
        """The record of the best trial; the earlier one of two equals."""
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
        # As it will be read again: JSON has texts for keys.
        return json.loads(json.dumps(record))

    def _propose(
        self, records: list[dict[str, Any]]
    ) -> tuple[Any, dict[str, Any]]:
        """Asks Optuna, which is told what came before."""
        optuna = _optuna()
        spread = {
            name: optuna.distributions.CategoricalDistribution(choices)
            for name, choices in self.space.items()
        }
        study = optuna.create_study(
            direction="maximize",
            # Of the trial's number too, or a killed search would repeat.
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
            if attempt >= _ATTEMPTS:  # TPE insists on what it knows
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
        path = self._path(record["number"])
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        partial.rename(path)

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


def train_reporting(learner: Learner, stage: str, report: Report) -> Learned:
    """Trains a stage and reports every validation, those before a kill too.

    Args:
        learner: of the trial.
        stage: "teacher", "student" or "distilled".
        report: is given the epoch and the monitored metric, an error times
            -1.

    Returns:
        See `Learner.train`.
    """
    every, monitor = learner.config.evaluation.validate_every, learner.monitor
    sign = -1.0 if monitor in ERRORS else 1.0
    epochs = getattr(learner.config, stage).epochs
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
    """What a trial came to, the more the better.

    Args:
        learner: of the trial.
        progress: of its training, which may have gone by something else.

    Returns:
        The monitored metric at the epoch that was kept, an error times -1.
    """
    value = progress.history[progress.best_epoch - 1][learner.monitor]
    return -value if learner.monitor in ERRORS else value


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
    try:
        import optuna
    except ImportError:
        raise ImportError(
            "Tuning needs the package optuna. Install it with "
            "pip install 'kd_tfrs[search]'."
        ) from None
    # Its own lines would say the same as ours.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
