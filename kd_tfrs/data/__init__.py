"""Data: schema, validated interactions, splits, pseudonyms, examples."""

from kd_tfrs.data.datasets import load
from kd_tfrs.data.examples import Examples, ExampleSplit, build_examples
from kd_tfrs.data.interactions import CleaningReport, Interactions, clean
from kd_tfrs.data.privacy import pseudonymise, read_key
from kd_tfrs.data.ranking_datasets import load_examples
from kd_tfrs.data.schema import Column, Encoding, Owner, Schema
from kd_tfrs.data.splits import Split, split

__all__ = [
    "CleaningReport",
    "Column",
    "Encoding",
    "ExampleSplit",
    "Examples",
    "Interactions",
    "Owner",
    "Schema",
    "Split",
    "build_examples",
    "clean",
    "load",
    "load_examples",
    "pseudonymise",
    "read_key",
    "split",
]
