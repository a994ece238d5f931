"""The one exception that stands for a user's mistake."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake in flags, data or requests, told in one clear line.

    The message names the thing, the rule, the value received and the remedy.
    Scripts print it on stderr and end with a non-zero status, without a
    traceback; library users catch it as the `ValueError` that it is.

    Args:
        message: one line; line breaks are folded into spaces.

    Example:
    ```python
    raise UserError(
        "`k` should be a positive integer. Received: `k` = 0. Give k >= 1."
    )
    ```
    """

    # Keras else appends all arguments of the layer that was called.
    _keras_call_info_injected = True

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(str(message).split()))
