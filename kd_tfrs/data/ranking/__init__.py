"""Examples for ranking models: features, labels by task, batches."""

from kd_tfrs.data.ranking.datasets import load_examples
from kd_tfrs.data.ranking.examples import Examples, ExampleSplit, build_examples

__all__ = [
    "ExampleSplit",
    "Examples",
    "build_examples",
    "load_examples",
]
