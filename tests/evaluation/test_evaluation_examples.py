"""The examples in the docstrings are run as they stand."""

import doctest
import importlib
import pkgutil

import pytest

import kd_tfrs.evaluation

MODULES = [
    module.name
    for module in pkgutil.walk_packages(
        kd_tfrs.evaluation.__path__, "kd_tfrs.evaluation."
    )
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.failed == 0
