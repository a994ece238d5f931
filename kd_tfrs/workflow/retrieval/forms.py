"""The forms of the distilled student that may ship."""

from __future__ import annotations

from kd_tfrs.export import FLOAT32, Storage

# By the name of the stage: whose weights, and how they are stored.
FORMS: dict[str, tuple[str, Storage]] = {
    "distilled": ("distilled", FLOAT32),
    "int8": ("distilled", Storage(int8=True)),
    "pruned": ("pruned", Storage(sparse=True)),
    "pruned_int8": ("pruned", Storage(int8=True, sparse=True)),
}
