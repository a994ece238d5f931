"""The forms of the distilled student that may ship."""

from __future__ import annotations

from kd_tfrs.export import Storage
from kd_tfrs.workflow.choice import AUTO
from kd_tfrs.workflow.compression_options import FORM_SOURCES, ShippingOptions

# By the name of the stage: the stage with its weights, and their storage.
FORMS: dict[str, tuple[str, Storage]] = {
    name: (
        source,
        Storage(int8=name.endswith("int8"), sparse=source == "pruned"),
    )
    for name, source in FORM_SOURCES.items()
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
