"""Requests and processes of the measurement; no test checks a duration."""

import itertools
import json
import os
import pickle
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation import within_noise
from kd_tfrs.evaluation.contention import Contention
from kd_tfrs.export import latency_worker
from kd_tfrs.export import served_latency as module
from kd_tfrs.export.served_latency import served_latency

FAST = {"seconds": 0.0, "processes": 2, "rounds": 3, "calls_per_round": 2}


def requests(served, count=3):
    return [{"user_id": np.array([user])} for user in served.users[:count]]


@pytest.fixture
def versions(served, tmp_path):
    other = shutil.copytree(served.path, tmp_path / "other" / "1")
    return {"teacher": served.path, "student": other}


def test_a_row_for_each_version(served, versions):
    found = served_latency(
        *(versions, "serving_default", requests(served)),
        reference="teacher",
        **FAST,
    )
    assert list(found.rows) == ["teacher", "student"]
    for row in found.rows.values():
        times = row["latency_ms"]
        assert list(times) == ["p50", "p95", "p99"]
        assert 0 < times["p50"] <= times["p95"] <= times["p99"]
    assert found.rows["teacher"]["times_faster"] is None
    assert found.rows["teacher"]["within_noise"] is False
    ratio = found.rows["student"]["times_faster"]
    assert ratio["low"] <= ratio["ratio"] <= ratio["high"]
    assert found.rows["student"]["within_noise"] == within_noise(ratio)
    assert found.contention.num_cores == os.cpu_count()
    assert json.loads(json.dumps(found.rows)) == found.rows


def test_rows_are_made_of_what_each_process_measured(monkeypatch):
    """Two processes: the student is 2 and 8 times faster, 4 times in all.

    t(.975, 1) is 12.7062, the standard deviation of log 2 and log 8 is
    log(4) / sqrt(2).
    """
    tasks = []
    answers = [
        {
            "milliseconds": {"s": [[1, 1], [1, 1]], "t": [[2, 2], [2, 2]]},
            "contention": vars(Contention(1, 0.2, 0.1, 1.0, 2)),
        },
        {
            "milliseconds": {"s": [[1, 1]] * 3, "t": [[8, 8]] * 3},
            "contention": vars(Contention(1, 0.4, 0.3, 3.0, 2)),
        },
    ]

    def answer(task):
        tasks.append(task)
        return answers[len(tasks) - 1]

    monkeypatch.setattr(module, "_in_new_process", answer)
    monkeypatch.setattr(module, "idlest_core", lambda: 1)
    found = served_latency(
        *({"s": "a/1", "t": "b/1"}, "default", [{"user_id": [1]}]),
        reference="t",
        seconds=3.0,
        processes=2,
    )
    # 4 calls of 2 ms and 6 of 8 ms.
    assert found.rows["t"]["latency_ms"]["p50"] == 8
    ratio = found.rows["s"]["times_faster"]
    assert ratio["ratio"] == pytest.approx(4)
    margin = 12.7062 * np.log(4) / np.sqrt(2) / np.sqrt(2)
    assert np.log(ratio["high"] / 4) == pytest.approx(margin, abs=1e-5)
    assert found.rows["s"]["within_noise"]
    assert found.contention.core_share == pytest.approx(0.3)
    # The same task in both, on one core, in another order.
    assert [task.pop("seed") for task in tasks] == [0, 1]
    assert tasks[0] == tasks[1]
    assert tasks[0]["core"] == 1
    assert tasks[0]["seconds"] == 1.5


def test_no_python_tensorflow_where_latency_is_measured():
    command = (
        f"import sys, {latency_worker.__name__}\n"
        "print('tensorflow' in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True
    )
    assert said.stdout == "False\n", said.stderr


def test_a_process_reports_what_it_cannot_do(tmp_path):
    answers = []
    for path in (tmp_path, tmp_path / "gone"):
        task = {
            **{"versions": {"a": str(path)}, "signature": "s", "requests": []},
            **{"core": None, "seed": 0},
        }
        said = subprocess.run(
            [sys.executable, *latency_worker.COMMAND],
            input=pickle.dumps(task),
            capture_output=True,
        )
        assert said.returncode == 0, said.stderr
        answers.append(json.loads(said.stdout)["error"])
    assert all("holds no saved_model.pb" in error for error in answers)


class FakeModel:
    """Records the requests by folder."""

    log, threads = [], []

    def __init__(self, path, threads):
        self._path = path
        self.threads.append(threads)

    def prepare(self, signature, inputs):
        def call():
            self.log.append((self._path, signature, inputs["user_id"]))

        return call


def test_every_version_gets_the_same_requests(monkeypatch):
    monkeypatch.setattr(latency_worker, "CSavedModel", FakeModel)
    monkeypatch.setattr(FakeModel, "log", [])
    monkeypatch.setattr(FakeModel, "threads", [])
    found = latency_worker._measure(
        *({"x": "a", "y": "b", "z": "c"}, "sig"),
        [{"user_id": user} for user in range(5)],
        core=None,
        seed=0,
        rounds=6,
        calls_per_round=2,
        warmup=1,
    )
    assert FakeModel.threads == [1, 1, 1]
    assert list(found["milliseconds"]) == ["x", "y", "z"]
    assert {len(rounds) for rounds in found["milliseconds"].values()} == {6}
    assert {signature for _, signature, _ in FakeModel.log} == {"sig"}
    # 1 of warm-up, and 6 rounds of 1 that is not counted and 2 that are.
    users = list(itertools.islice(itertools.cycle(range(5)), 19))
    for path in "abc":
        assert [u for p, _, u in FakeModel.log if p == path] == users


def test_times_are_those_of_the_processor(monkeypatch):
    """Pauses in which other processes run are not in them."""
    worked = [0]

    class Working(FakeModel):
        def prepare(self, signature, inputs):
            def call():
                worked[0] += 3_000_000

            return call

    monkeypatch.setattr(latency_worker, "CSavedModel", Working)
    monkeypatch.setattr(time, "process_time_ns", lambda: worked[0])
    found = latency_worker._measure(
        *({"x": "a"}, "sig", [{}]), core=None, seed=0, rounds=2
    )
    assert found["milliseconds"] == {"x": [[3, 3, 3], [3, 3, 3]]}


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="no sched_setaffinity"
)
def test_models_are_loaded_and_run_on_the_core(monkeypatch):
    before, seen = os.sched_getaffinity(0), []
    core = min(before)

    class Watching(FakeModel):
        def __init__(self, path, threads):
            super().__init__(path, threads)
            seen.append(os.sched_getaffinity(0))

        def prepare(self, signature, inputs):
            return lambda: seen.append(os.sched_getaffinity(0))

    monkeypatch.setattr(latency_worker, "CSavedModel", Watching)
    found = latency_worker._measure(
        *({"x": "a"}, "sig", [{"user_id": 1}]), core=core, seed=0, rounds=2
    )
    assert len(seen) > 5
    assert all(cores == {core} for cores in seen)
    assert found["contention"]["core"] == core
    assert os.sched_getaffinity(0) == before


def test_other_requests_and_signatures_are_refused(served, versions):
    def run(signature, requests):
        served_latency(
            versions, signature, requests, reference="teacher", **FAST
        )

    with pytest.raises(UserError, match="A request should name one of the"):
        run("no_such", requests(served))
    with pytest.raises(UserError, match="A request should name one of the"):
        run("serving_default", [{"item_id": np.array([1])}])
    with pytest.raises(UserError, match="at least one request"):
        run("serving_default", [])


def test_the_reference_is_one_of_the_stages(served, versions):
    with pytest.raises(UserError, match=r"`reference` should be one of \['te"):
        served_latency(versions, "s", requests(served), reference="gone")


@pytest.mark.parametrize(
    ("name", "value"),
    [("processes", 0), ("calls_per_round", 0), ("rounds", 1)],
)
def test_counts_are_large_enough(served, versions, name, value):
    with pytest.raises(UserError, match=f"`{name}"):
        served_latency(
            *(versions, "serving_default", requests(served)),
            reference="teacher",
            **{name: value},
        )


def test_a_process_that_dies_is_one_clear_error(served, versions, monkeypatch):
    command = "-c", "raise SystemExit('no memory')"
    monkeypatch.setattr(module, "COMMAND", command)
    with pytest.raises(UserError, match="status 1, no memory"):
        served_latency(
            *(versions, "serving_default", requests(served)),
            reference="teacher",
            **FAST,
        )
