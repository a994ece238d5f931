"""Teachers that students of a comparison share, or that a run has trained."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.options import FlatConfig
from kd_tfrs.workflow.run import Run, changed_flags, read_json

if TYPE_CHECKING:
    from kd_tfrs.workflow.learner import Learner, PreparedData

logger = logging.getLogger(__name__)
Cost = dict[str, Any] | None


class SharedTeachers:
    """Trains the teacher of a seed once, or takes that of a finished run.

    Args:
        directory: holds one folder per seed.
        config: options of the comparison.
        learner_type: makes the learner of a run and its data.
        networks: stages that are the teacher.
        shared: prefixes of the weights that depend on the seed and the
            teachers' flags alone; students lend and adopt them.
        taken: prefixes of the weights that are taken from `source`.
        source: holds finished runs, `seed-<k>` each; `None` to train the
            teachers.

    Example:
    ```python
    teachers = SharedTeachers(
        Path("runs/mine/teachers"), config, learner_type=Learner
    )
    teachers.get(prepared, seed=0)
    teachers.lend(run)
    ```
    """

    def __init__(
        self,
        directory: Path,
        config: FlatConfig,
        learner_type: type[Learner],
        networks: Sequence[str] = ("teacher",),
        shared: Sequence[str] = ("teacher",),
        taken: Sequence[str] = ("teacher",),
        source: Path | None = None,
    ) -> None:
        self.directory = directory
        self.config = config
        self.networks = tuple(networks)
        self.source = source
        self._learner_type = learner_type
        self._shared = tuple(shared)
        self._taken = tuple(taken)

    def check(self, seeds: Sequence[int]) -> None:
        """Checks the source before anything trains.

        Raises:
            UserError: a teacher is missing or has other flags.
        """
        if self.source is not None:
            for seed in seeds:
                self._source(seed)

    def get(self, prepared: PreparedData, seed: int) -> dict[str, Cost]:
        """Trains or takes the teacher of a seed, unless it is there.

        Args:
            prepared: data of that seed.
            seed: of the weights, the batches and the split.

        Returns:
            "train_seconds" and "epochs" of "teacher" and of each network, as
            far as they are known.
        """
        with contextlib.closing(self._run(seed)) as run:
            run.check_data(prepared.fingerprint())
            if any(run.load_weights(n) is None for n in self.networks):
                if self.source is None:
                    self._train(run, prepared)
                else:
                    self._take(run, prepared, seed)
            costs = {n: run.read_json(_cost_file(n)) for n in self.networks}
            total = run.read_json("cost.json") or _total(list(costs.values()))
            return {**costs, "teacher": total}

    def learner(self, prepared: PreparedData, seed: int) -> Learner:
        """Loads the teacher's models; its run should be closed afterwards."""
        return self._learner_type(self._run(seed), prepared)

    def lend(self, run: Run) -> None:
        """Links the teacher of a student's seed, and its cache, into a run."""
        mine = self.directory / f"seed-{run.config.seed}"
        for prefix in self._shared:
            for weights in (mine / "weights").glob(f"{prefix}*.npz"):
                _link(run.path("weights", weights.name), weights)
        knowledge = mine / "knowledge"
        knowledge.mkdir(exist_ok=True)
        _link(run.path("knowledge"), knowledge)

    def adopt(self, run: Run) -> None:
        """Copies teachers that a student's run made, for later students."""
        mine = self.directory / f"seed-{run.config.seed}" / "weights"
        for prefix in self._shared:
            for weights in (run.directory / "weights").glob(f"{prefix}*.npz"):
                kept = mine / weights.name
                if not weights.is_symlink() and not kept.exists():
                    partial = kept.with_name(f".{kept.name}.partial")
                    shutil.copyfile(weights, partial)
                    partial.rename(kept)

    def _run(self, seed: int) -> Run:
        config = dataclasses.replace(self.config, seed=seed)
        return Run(self.directory / f"seed-{seed}", config, log=False)

    def _train(self, run: Run, prepared: PreparedData) -> None:
        # Here, so that a check of the flags does not wait for TensorFlow.
        import tensorflow as tf

        for name in self.networks:
            if run.load_weights(name) is not None:
                continue
            tf.keras.backend.clear_session()
            learner = self._learner_type(run, prepared)
            logger.info("%s of seed %d", name, run.config.seed)
            model, progress = learner.train(name)
            cost = {
                "train_seconds": progress.seconds,
                "epochs": progress.epoch,
                "best_epoch": progress.best_epoch,
            }
            run.write_json(_cost_file(name), cost)
            learner.save(name, model)

    def _take(self, run: Run, prepared: PreparedData, seed: int) -> None:
        source = self._source(seed)
        data = read_json(source / "data.json")
        fingerprint = prepared.fingerprint()
        if data["fingerprint"] != fingerprint:
            raise UserError(
                f"`--teacher_dir` should hold teachers of the same data. "
                f"Received: {source}, whose data have the fingerprint "
                f"{data['fingerprint'][:12]}, not {fingerprint[:12]}. Leave "
                "the flag out to train teachers."
            )
        logger.info("teacher of %s", source)
        run.write_json("cost.json", _stage_cost(source))
        for prefix in self._taken:
            for weights in (source / "weights").glob(f"{prefix}*"):
                _link(run.path("weights", weights.name), weights)

    def _source(self, seed: int) -> Path:
        """The folder of a finished run with the same flags."""
        return find_teacher(self.source, self.config, seed, self.networks[0])


def find_teacher(
    directory: Path, config: FlatConfig, seed: int, name: str
) -> Path:
    """Finds the run of a seed, and compares its flags.

    Raises:
        UserError: there is no such run, or it is of other flags.
    """
    source = _source(directory, seed, name)
    flags = source / "flags.json"
    # The path of the data does not matter: the fingerprint does.
    data = {f.name for f in dataclasses.fields(config.data)} - {"data_dir"}
    differences = changed_flags(
        read_json(flags) if flags.exists() else {},
        dataclasses.replace(config, seed=seed),
        lambda flag: flag in ("seed", *data) or flag.startswith("teacher_"),
    )
    if differences:
        raise UserError(
            "`--teacher_dir` should hold teachers of the same flags. "
            f"Received: {source}: {differences}. Use these flags, or leave "
            "--teacher_dir out to train teachers."
        )
    return source


def _source(directory: Path, seed: int, name: str) -> Path:
    """The run folder of a seed: below the directory, or itself."""
    for folder in (directory / f"seed-{seed}", directory):
        if (folder / "weights" / f"{name}.npz").exists():
            return folder
    raise UserError(
        f"`--teacher_dir` should hold a finished run for every seed. Received: "
        f"{directory}, which has no seed-{seed}/weights/{name}.npz. Ask for "
        "fewer --seeds, or leave --teacher_dir out to train teachers."
    )


def _cost_file(name: str) -> str:
    return f"cost-{name}.json"


def _total(costs: Sequence[Cost]) -> Cost:
    """The cost of all networks together; `None` if one is not known."""
    if len(costs) == 1 or not all(costs):
        return costs[0] if len(costs) == 1 else None
    return {
        "train_seconds": sum(cost["train_seconds"] for cost in costs),
        "epochs": max(cost["epochs"] for cost in costs),
    }


def _stage_cost(folder: Path) -> dict[str, Any]:
    """The cost of a teacher, from the stages of its run."""
    row, history = (
        folder / "stages" / f"teacher{end}.json" for end in ("", ".history")
    )
    cost = {}
    if row.exists():
        cost["train_seconds"] = read_json(row)["train_seconds"]
    if history.exists():
        cost["epochs"] = len(read_json(history))
    return cost


def _link(path: Path, target: Path) -> None:
    if not path.is_symlink():
        os.symlink(target.resolve(), path)
