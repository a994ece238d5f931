"""Teachers that many students of one comparison share, one a seed."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any, ClassVar

import tensorflow as tf

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.options import FlatConfig
from kd_tfrs.workflow.retrieval.learner import Learner
from kd_tfrs.workflow.retrieval.prepare import Prepared
from kd_tfrs.workflow.run import Run, read_json

logger = logging.getLogger(__name__)


class SharedTeachers:
    """Trains the teacher of a seed once, or takes that of a finished run.

    Args:
        directory: holds a folder a seed.
        config: of the comparison.
        source: holds finished runs, `seed-<k>` each, whose teachers are
            taken; `None` to train them.

    Example:
    ```python
    teachers = SharedTeachers(Path("runs/mine/teachers"), config)
    teachers.get(prepared, seed=0)
    teachers.lend(run)
    ```
    """

    # Weights that depend on the teachers' flags and the seed alone.
    kinds: ClassVar[tuple[str, ...]] = ("teacher", "lightgcn")
    taken: ClassVar[tuple[str, ...]] = ("teacher",)
    learner_type: ClassVar[type] = Learner

    def __init__(
        self, directory: Path, config: FlatConfig, source: Path | None = None
    ) -> None:
        self.directory = directory
        self.config = config
        self.source = source

    def check(self, seeds: list[int]) -> None:
        """Looks whether the source has what is needed, before a long wait.

        Args:
            seeds: of the teachers that will be asked for.

        Raises:
            UserError: a teacher is missing, or of other flags.
        """
        if self.source is not None:
            for seed in seeds:
                self._check_source(seed)

    def get(self, prepared: Prepared, seed: int) -> dict[str, Any]:
        """Makes sure that there is a teacher.

        Args:
            prepared: data of that seed.
            seed: of its weights, its draws and the split.

        Returns:
            What its training took: "train_seconds" and "epochs", as far as
            they are known.
        """
        run = self._run(seed)
        try:
            run.check_data(prepared.fingerprint())
            if any(run.load_weights(n) is None for n in self.networks):
                self._make(run, prepared, seed)
            return run.read_json("cost.json") or {}
        finally:
            run.close()

    @property
    def networks(self) -> tuple[str, ...]:
        """Names of the weights that make the teacher."""
        return ("teacher",)

    def learner(self, prepared: Prepared, seed: int) -> Learner:
        """Has the teacher's model; its run should be closed afterwards."""
        return self.learner_type(self._run(seed), prepared)

    def lend(self, run: Run) -> None:
        """Gives a student's run the teacher of its seed, and its knowledge.

        Args:
            run: of the student.
        """
        mine = self.directory / f"seed-{run.config.seed}"
        for kind in self.kinds:
            for weights in (mine / "weights").glob(f"{kind}*.npz"):
                _link(run.path("weights", weights.name), weights)
        knowledge = mine / "knowledge"
        knowledge.mkdir(exist_ok=True)
        _link(run.path("knowledge"), knowledge)

    def adopt(self, run: Run) -> None:
        """Keeps teachers that a student's run made, for the next ones.

        Args:
            run: of the student.
        """
        mine = self.directory / f"seed-{run.config.seed}" / "weights"
        for kind in self.kinds:
            for weights in (run.directory / "weights").glob(f"{kind}*.npz"):
                kept = mine / weights.name
                if not weights.is_symlink() and not kept.exists():
                    partial = kept.with_name(f".{kept.name}.partial")
                    shutil.copyfile(weights, partial)
                    partial.rename(kept)

    def _run(self, seed: int) -> Run:
        config = dataclasses.replace(self.config, seed=seed)
        return Run(self.directory / f"seed-{seed}", config, log=False)

    def _make(self, run: Run, prepared: Prepared, seed: int) -> None:
        if self.source is not None:
            self._take(run, prepared, seed)
            return
        self._train(run, prepared)

    def _train(self, run: Run, prepared: Prepared) -> None:
        tf.keras.backend.clear_session()
        learner = self.learner_type(run, prepared)
        model, progress = learner.train("teacher")
        cost = {
            "train_seconds": progress.seconds,
            "epochs": progress.epoch,
            "best_epoch": progress.best_epoch,
        }
        run.write_json("cost.json", cost)
        learner.save("teacher", model)

    def _take(self, run: Run, prepared: Prepared, seed: int) -> None:
        source = self._check_source(seed)
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
        run.write_json("cost.json", _cost(source))
        for kind in self.taken:
            for weights in (source / "weights").glob(f"{kind}*"):
                _link(run.path("weights", weights.name), weights)

    def _check_source(self, seed: int) -> Path:
        """The folder of a finished run with the same flags."""
        source = _source(self.source, seed, self.networks[0])
        asked = json.loads(json.dumps(self.config.flat()))
        default = json.loads(json.dumps(type(self.config)().flat()))
        found = {**default, **_flags(source)}
        asked["seed"] = seed
        # Where the data lie does not matter: the fingerprint tells.
        data = {f.name for f in dataclasses.fields(self.config.data)}
        data -= {"data_dir"}
        changed = [
            name
            for name in asked
            if (name in ("seed", *data) or name.startswith("teacher_"))
            and found[name] != asked[name]
        ]
        if changed:
            differences = ", ".join(
                f"--{k} was {found[k]!r}, now {asked[k]!r}" for k in changed
            )
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


def _flags(folder: Path) -> dict[str, Any]:
    path = folder / "flags.json"
    return read_json(path) if path.exists() else {}


def _cost(folder: Path) -> dict[str, Any]:
    """What a teacher took, as the stages of its run tell."""
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
