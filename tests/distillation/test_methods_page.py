"""The page of methods lists what there is, and its own loss runs."""

import pathlib
import re

import numpy as np
import tensorflow as tf

from kd_tfrs.workflow.retrieval.methods import METHODS

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "kd_tfrs" / "distillation" / "README.md"


def test_every_method_has_a_row_a_class_and_a_test():
    table = re.search(
        r"<!-- methods -->\n(.*?)<!-- end -->", PAGE.read_text(), re.S
    ).group(1)
    rows = [line.split(" | ") for line in table.splitlines()[2:] if line]
    assert [row[0].strip("| `") for row in rows] == list(METHODS)
    for row in rows:
        # What, class, over, defaults, source, two figures, and when.
        assert len(row) == 9, row
        assert all(cell.strip(" |") for cell in row), row
        files = re.findall(r"\(losses/(\w+)\.py\)", row[2])
        assert files, row
        for name in files:
            assert (PAGE.parent / "losses" / f"{name}.py").exists(), name
            tests = ROOT / "tests" / "distillation"
            assert (
                tests / "losses" / f"test_{name}.py"
            ).exists() or name == "response", name


def test_the_loss_of_your_own_is_a_loss():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    scope = {}
    exec(blocks[-1], scope)
    loss = scope["AbsoluteDifference"](temperature=2.0)
    found = loss(
        [[1.0, 2.0, 9.0]],
        [[0.0, 4.0, 0.0]],
        mask=tf.constant([True, True, False]),
    )
    np.testing.assert_allclose(found, (1 / 2 + 2 / 2) / 2)
