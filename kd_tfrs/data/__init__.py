"""Data: schema, validated interactions, splits, pseudonyms."""

from kd_tfrs.data.datasets import load
from kd_tfrs.data.interactions import CleaningReport, Interactions, clean
from kd_tfrs.data.privacy import pseudonymise, read_key
from kd_tfrs.data.schema import Column, Encoding, Owner, Schema
from kd_tfrs.data.splits import Split, split

__all__ = [
    "CleaningReport",
    "Column",
    "Encoding",
    "Interactions",
    "Owner",
    "Schema",
    "Split",
    "clean",
    "load",
    "pseudonymise",
    "read_key",
    "split",
]
