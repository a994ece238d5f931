"""Finished runs whose teachers are taken."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.options import FlatConfig
from kd_tfrs.workflow.run import read_json


def find_teacher(
    directory: Path, config: FlatConfig, seed: int, name: str
) -> Path:
    """Finds the run of a seed, and compares its flags.

    Args:
        directory: holds `seed-<k>`, or is the run of the seed itself.
        config: whose flags of the data and of the teacher the run should
            have.
        seed: of the run.
        name: of the teacher's weights.

    Returns:
        The folder of the finished run.

    Raises:
        UserError: there is no such run, or it is of other flags.
    """
    source = _source(directory, seed, name)
    asked = json.loads(json.dumps(config.flat()))
    default = json.loads(json.dumps(type(config)().flat()))
    found = {**default, **_flags(source)}
    asked["seed"] = seed
    # Where the data lie does not matter: the fingerprint tells.
    data = {f.name for f in dataclasses.fields(config.data)}
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
