"""Packages whose names are imported on first use."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from typing import Any


def lazy_names(package: str) -> Callable[[str], Any]:
    """Makes the `__getattr__` of a package whose names are in its `api`.

    Names and tables that a check of the flags needs do not wait for
    TensorFlow when the packages above them import nothing. The first name
    that is used imports all of them, so that Keras knows every layer and
    loss of the package.

    Args:
        package: name of the package; its module `api` has `__all__`.

    Returns:
        The function.

    Example:
    ```python
    __getattr__ = lazy_names(__name__)
    ```
    """

    def get(name: str) -> Any:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(_missing(package, name))
        if importlib.util.find_spec(f"{package}.{name}") is not None:
            return importlib.import_module(f"{package}.{name}")
        api = importlib.import_module(f"{package}.api")
        names = {key: getattr(api, key) for key in api.__all__}
        names["__all__"] = list(api.__all__)
        vars(sys.modules[package]).update(names)
        if name not in names:
            raise AttributeError(_missing(package, name))
        return names[name]

    return get


def _missing(package: str, name: str) -> str:
    return f"module {package!r} has no attribute {name!r}"
