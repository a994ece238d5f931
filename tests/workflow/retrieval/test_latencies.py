"""Latencies of stages, at the data's catalogue and at one of 100,000."""

import numpy as np
import pytest

from kd_tfrs.evaluation.contention import Contention
from kd_tfrs.export import CSavedModel
from kd_tfrs.export.served_latency import ServedLatency
from kd_tfrs.testing.retrieval import tiny_interactions
from kd_tfrs.workflow import latencies
from kd_tfrs.workflow.retrieval.config import Config
from kd_tfrs.workflow.retrieval.latencies import (
    LARGE_CATALOGUE,
    measure_latencies,
)
from kd_tfrs.workflow.retrieval.measure import Embedded
from kd_tfrs.workflow.retrieval.prepare import prepare_interactions
from kd_tfrs.workflow.retrieval.stages import Stages
from kd_tfrs.workflow.run import Run

WIDTHS = {"teacher": 32, "student": 4}


@pytest.fixture(scope="module")
def data():
    return prepare_interactions(tiny_interactions())


@pytest.fixture(scope="module")
def stages(data):
    """Random embeddings of two widths."""
    random = np.random.default_rng(4)
    catalogue, found = data.catalogue, {}
    for name, width in WIDTHS.items():
        tables = (
            random.normal(size=(count, width)).astype(np.float32)
            for count in (catalogue.num_users + 1, catalogue.num_items)
        )
        fallback = np.zeros(width, np.float32)
        found[name] = Embedded(*tables, fallback)
    return found


def asked(name, folder, requests):
    """What a version folder answers to each request."""
    model = CSavedModel(folder)
    return [model.run("serving_default", request) for request in requests]


def test_both_catalogues_answer_with_ids_of_their_own(
    data, stages, monkeypatch
):
    calls = []

    def served_latency(versions, signature, requests, *, reference, seconds):
        assert (signature, reference, seconds) == (
            "serving_default",
            "teacher",
            0.5,
        )
        calls.append({n: asked(n, v, requests) for n, v in versions.items()})
        idle = Contention(0, 0.0, 0.0, 0.0, 2)
        rows = {
            name: {
                "latency_ms": {"p50": float(len(calls))},
                "times_faster": {"ratio": 10.0 * len(calls)},
                "within_noise": False,
            }
            for name in versions
        }
        return ServedLatency(rows, idle)

    monkeypatch.setattr(latencies, "served_latency", served_latency)

    found = measure_latencies(
        stages, data, reference="teacher", top_k=5, seconds=0.5
    )

    # First the items of the data, then those that are numbered.
    for name in stages:
        assert found["rows"][name] == {
            "latency_ms": {"p50": 1.0},
            "times_faster": {"ratio": 10.0},
            "within_noise": False,
            "latency_ms_100k": {"p50": 2.0},
            "times_faster_100k": {"ratio": 20.0},
        }
    assert found["warning"] is None
    own, large = calls
    num_items = data.catalogue.num_items
    for name, embedded in stages.items():
        rows = data.catalogue.user_rows(data.test.users)
        scores = embedded.queries[rows] @ embedded.candidates.T
        assert len(own[name]) == len(large[name]) == len(rows)
        for user, few, many in zip(scores, own[name], large[name], strict=True):
            best = np.argsort(-user)[:5]
            ids = [i.decode() for i in few["item_id"][0]]
            assert ids == list(data.catalogue.item_ids[best])
            # The best item is there 100,000 / 20 times; the smallest ids of
            # equal scores come first.
            expected = best[0] + num_items * np.arange(5)
            np.testing.assert_array_equal(many["item_id"][0], expected)
            assert expected.max() < LARGE_CATALOGUE
            np.testing.assert_allclose(
                many["score"][0], np.full(5, user[best[0]]), atol=1e-5
            )


@pytest.mark.slow
def test_rows_have_the_shape_of_the_stage_table(data, stages):
    found = measure_latencies(
        stages, data, reference="teacher", top_k=5, seconds=0.2
    )

    assert list(found["rows"]) == list(stages)
    assert found["warning"] is None or "core" in found["warning"]
    for name, row in found["rows"].items():
        assert set(row) == {
            *("latency_ms", "times_faster", "within_noise"),
            *("latency_ms_100k", "times_faster_100k"),
        }
        for key in ("latency_ms", "latency_ms_100k"):
            times = row[key]
            assert 0 < times["p50"] <= times["p95"] <= times["p99"]
        for key in ("times_faster", "times_faster_100k"):
            ratio = row[key]
            if name == "teacher":
                assert ratio is None
            else:
                assert 0 < ratio["low"] <= ratio["ratio"] <= ratio["high"]


@pytest.fixture
def chain(data, tmp_path):
    """A chain whose stages are all done, but for their latencies."""
    runs = []

    def build(names, **options):
        runs.append(
            Run(tmp_path / f"run-{len(runs)}", Config.from_flat(options))
        )
        for name in names:
            row = {"stage": name, "choice": {"name": "distilled"}}
            runs[-1].write_json(f"stages/{name}.json", row)
        stages = Stages(runs[-1])
        stages.prepared = data
        return stages

    yield build
    for run in runs:
        run.close()


@pytest.mark.parametrize(
    ("names", "seconds"),
    [
        (("teacher", "student"), 0.0),
        (("teacher",), 1.0),
        (("student", "distilled"), 1.0),
    ],
    ids=["no time", "nothing beside the teacher", "no teacher"],
)
def test_nothing_is_measured_where_nothing_can_be_compared(
    chain, names, seconds
):
    found = chain(names, eval_latency_seconds=seconds).latencies()
    assert found == {"rows": {}, "warning": None}


def test_latencies_are_measured_once(chain, monkeypatch, stages):
    chain, calls = chain(("teacher", "student")), []

    def measure(embedded, prepared, **options):
        calls.append((list(embedded), options))
        return {"rows": {name: {} for name in embedded}, "warning": "busy"}

    monkeypatch.setattr(
        "kd_tfrs.workflow.retrieval.stages.measure_latencies", measure
    )
    monkeypatch.setattr(chain, "embedded", lambda stage: stages[stage])

    found = [chain.latencies() for _ in range(2)]

    options = {"reference": "teacher", "top_k": 10, "seconds": 5.0}
    assert calls == [(["teacher", "student"], options)]
    assert found[0] == found[1] == chain.run.read_json("stages/latency.json")
    # A stage that came later is measured with the others.
    row = {"stage": "distilled"}
    chain.run.write_json("stages/distilled.json", row)
    monkeypatch.setattr(chain, "embedded", lambda stage: stages["student"])
    assert list(chain.latencies()["rows"]) == [
        "teacher",
        "student",
        "distilled",
    ]
