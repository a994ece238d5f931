"""The examples in the docstrings are run as they stand."""

import doctest
import importlib
import pkgutil

import pytest

import kd_tfrs.models.ranking

MODULES = [
    module.name
    for module in pkgutil.iter_modules(
        kd_tfrs.models.ranking.__path__, "kd_tfrs.models.ranking."
    )
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.failed == 0
