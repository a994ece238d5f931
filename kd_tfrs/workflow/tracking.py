"""Logs of a run to Weights & Biases."""

from __future__ import annotations

import os
from typing import Any

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.options import FlatConfig
from kd_tfrs.workflow.packages import require_package


def require_wandb() -> None:
    """Refuses to go on without the package wandb.

    Raises:
        ImportError: it is not installed.
    """
    require_package("`--wandb_project`", "wandb", "wandb")


class Tracker:
    """Logs stages to Weights & Biases.

    Offline with the environment variable `WANDB_MODE=offline`, as ever.

    Args:
        project: name of the W&B project.
        directory: where W&B keeps its files.
        config: the run's options.

    Raises:
        ImportError: wandb is not installed.
        UserError: the login is missing, or the project is refused.

    Example:
    ```python
    tracker = Tracker("kd_tfrs", "runs/first", config)
    ```
    """

    def __init__(
        self, project: str, directory: str | os.PathLike, config: FlatConfig
    ) -> None:
        require_wandb()
        import wandb

        os.makedirs(directory, exist_ok=True)
        try:
            self._run = wandb.init(
                project=project, dir=os.fspath(directory), config=config.flat()
            )
        except wandb.errors.Error as error:
            raise UserError(
                f"`--wandb_project` should be one you can log to. Received: "
                f"{project!r} ({error}). Log in, or set WANDB_MODE=offline."
            ) from None

    def log_stage(
        self, row: dict[str, Any], history: list[dict[str, float]]
    ) -> None:
        """Logs the epochs of a stage and its test metrics."""
        stage = row["stage"]
        for epoch in history:
            self._run.log({f"{stage}/{k}": v for k, v in epoch.items()})
        summary = {
            f"{stage}/test/{name}": value
            for name, value in row["metrics"].items()
            if value is not None
        }
        for name in ("parameters", "nonzero_parameters", "size_bytes"):
            if name in row:
                summary[f"{stage}/{name}"] = row[name]
        self._run.summary.update(summary)

    def close(self) -> None:
        """Ends the W&B run."""
        self._run.finish()
