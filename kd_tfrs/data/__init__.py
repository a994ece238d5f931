"""Data: schema, validated interactions, splits, pseudonyms."""

from kd_tfrs.data.interactions import CleaningReport, Interactions, clean
from kd_tfrs.data.schema import Column, Encoding, Owner, Schema

__all__ = [
    "CleaningReport",
    "Column",
    "Encoding",
    "Interactions",
    "Owner",
    "Schema",
    "clean",
]
