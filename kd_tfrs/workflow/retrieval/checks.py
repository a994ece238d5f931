"""Mistakes of a retrieval run that its flags alone show."""

from __future__ import annotations

from kd_tfrs.workflow.retrieval.auto_method import resolve_auto
from kd_tfrs.workflow.retrieval.config import Config
from kd_tfrs.workflow.retrieval.loading import check_data
from kd_tfrs.workflow.retrieval.methods import (
    parse_retrieval_method,
)


def check_config(config: Config) -> None:
    """Finds mistakes in the flags; imports no TensorFlow and reads no rows.

    Raises:
        UserError: the data cannot be found, or a method is unknown. A mistake
            that shows in the data alone is left to the run.

    Example:
    ```python
    check_config(Config())
    ```
    """
    check_data(config.data)
    # The method of "auto" is one that there is, whatever the catalogue.
    options, _ = resolve_auto(config.distillation, 0)
    for text in options.losses:
        parse_retrieval_method(text)
