"""The tiny ranking run has the metrics that it had."""

import json
from pathlib import Path

import pytest

GOLDEN = Path(__file__).with_name("golden_metrics.json")


def _rows(finished):
    return [*finished.found["baselines"], *finished.found["stages"]]


def test_metrics_of_every_stage_are_those_on_record(finished):
    rows = {row["stage"]: row["metrics"] for row in _rows(finished)}
    assert list(rows) == list(json.loads(GOLDEN.read_text()))
    for stage, expected in json.loads(GOLDEN.read_text()).items():
        metrics = {name: rows[stage][name] for name in expected}
        # Another processor rounds otherwise, and ranks close scores anew.
        assert metrics == pytest.approx(expected, abs=0.01)
