"""Optional packages, looked for before anything else is imported."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

# By the stage that needs it: the package, and the extra that installs it.
STAGE_PACKAGES = {
    "als": ("implicit", "baselines"),
    "lightgbm": ("lightgbm", "baselines"),
    "litert": ("ai_edge_litert", "edge"),
}


def require_package(user: str, package: str, extra: str) -> None:
    """Refuses to go on without an optional package.

    Raises:
        ImportError: it is not installed.

    Example:
    ```python
    require_package("Tuning", "optuna", "search")
    ```
    """
    if importlib.util.find_spec(package) is None:
        raise ImportError(
            f"{user} needs the package {package}. Install it with pip "
            f"install 'kd_tfrs[{extra}]'."
        )


def require_stage_packages(stages: Iterable[str]) -> None:
    """Refuses chosen stages whose package is missing.

    Raises:
        ImportError: see `require_package`.
    """
    for stage in stages:
        if stage in STAGE_PACKAGES:
            require_package(f"`--stages={stage}`", *STAGE_PACKAGES[stage])
