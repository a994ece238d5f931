"""The examples in docstrings are true."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "kd_tfrs.compression.quantization",
        "kd_tfrs.export.signature_functions",
        "kd_tfrs.export.ranking.inputs",
        "kd_tfrs.testing.ranking",
    ],
)
def test_examples(module):
    found = doctest.testmod(
        importlib.import_module(module), optionflags=doctest.ELLIPSIS
    )
    assert found.attempted
    assert not found.failed
