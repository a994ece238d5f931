"""The pages of methods are those of the code, and their example runs."""

import pathlib
import re
import sys

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.workflow.ranking.methods import RANKING_METHODS
from kd_tfrs.workflow.retrieval.methods import METHODS

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "experiments"))
import methods  # noqa: E402

PAGE = methods.PAGES["retrieval"]
NAMES = {"retrieval": METHODS, "ranking": RANKING_METHODS}


def rows_of(page):
    table = re.search(r"<!-- methods -->\n(.*?)<!-- end -->", page, re.S)[1]
    return [line.split(" | ") for line in table.splitlines()[2:] if line]


@pytest.mark.parametrize("task", NAMES)
def test_a_page_is_up_to_date(task):
    page = methods.PAGES[task].read_text()
    # Otherwise: python experiments/methods.py
    assert methods.refreshed(page, task) == page
    assert [row[0].strip("| `") for row in rows_of(page)] == list(NAMES[task])


def test_the_number_of_methods_is_up_to_date():
    readme = (ROOT / "README.md").read_text()
    assert methods.counted(readme) == readme
    count = len({*METHODS, *RANKING_METHODS})
    assert f"{count} methods of distillation" in readme


def test_figures_are_kept_without_a_screening():
    page = PAGE.read_text()
    # As if a method had been described in other words.
    changed = page.replace("cross entropy with the teacher's best", "other")
    assert changed != page
    assert methods.refreshed(changed, "retrieval") == page
    measured = [row[6:8] for row in rows_of(page)]
    assert all(
        re.fullmatch(r"0\.\d{4}", x) for cells in measured for x in cells
    )


def test_figures_are_those_of_a_screening():
    row = {"method": "rrd", "validation": {"ndcg@20": 0.5, "recall@50": 0.25}}
    screening = {"validation": {"methods": [row]}}
    page = methods.refreshed(PAGE.read_text(), "retrieval", screening)
    measured = {row[0].strip("| `"): row[6:8] for row in rows_of(page)}
    assert measured["rrd"] == ["0.5000", "0.2500"]
    assert measured["cd"] == ["-", "-"]


@pytest.mark.parametrize("task", NAMES)
def test_every_method_has_a_class_and_a_test(task):
    files = (ROOT / "tests" / "distillation").rglob("test_*.py")
    tested = "\n".join(path.read_text() for path in files)
    page = methods.PAGES[task]
    for row in rows_of(page.read_text()):
        assert all(cell.strip(" |") for cell in row), row
        classes = re.findall(r"\[(\w+)\]\((\S+\.py)\)", row[2])
        assert classes, row
        for name, path in classes:
            assert f"class {name}(" in (page.parent / path).read_text()
            assert name in tested


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
