"""The forms of the distilled student that may ship."""

from __future__ import annotations

from kd_tfrs.export import FLOAT32, Storage
from kd_tfrs.workflow.choice import AUTO
from kd_tfrs.workflow.compression_options import ShippingOptions

# By the name of the stage: the stage with its weights, and their storage.
FORMS: dict[str, tuple[str, Storage]] = {
    "distilled": ("distilled", FLOAT32),
    "int8": ("distilled", Storage(int8=True)),
    "pruned": ("pruned", Storage(sparse=True)),
    "pruned_int8": ("pruned", Storage(int8=True, sparse=True)),
}
# Forms that no training makes.
ROUNDED = tuple(name for name, (source, _) in FORMS.items() if name != source)


def needed_forms(options: ShippingOptions) -> tuple[str, ...]:
    """The forms among which one is chosen, the reference first.

    Args:
        options: with a form that was asked for, it is the only other one.

    Returns:
        Names among `FORMS`.

    Example:
    >>> needed_forms(ShippingOptions(ship="int8"))
    ('distilled', 'int8')
    """
    if options.ship == AUTO:
        return tuple(FORMS)
    return tuple(dict.fromkeys(["distilled", options.ship]))
