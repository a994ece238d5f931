"""Whole calls of several pairs are timed in turns."""

from types import SimpleNamespace

import numpy as np

from kd_tfrs.workflow.pipeline.latency import TIMED, measure_calls


class Chain:
    """Three users, of whom each pair is asked; what is asked is noted."""

    def __init__(self, repeats):
        exclusions = SimpleNamespace(
            bounds=np.array([0, 1, 1, 3]), ids=np.array([7, 8, 9])
        )
        users = np.array([10, 20, 30])
        data = SimpleNamespace(users=users, exclusions=exclusions)
        self.requests = SimpleNamespace(data=data)
        self.names = ("students_of_another_run", *TIMED[:2])
        options = SimpleNamespace(latency_repeats=repeats)
        self.config = SimpleNamespace(pipeline=options)
        self.log = {name: [] for name in self.names}

    def recommender(self, stage):
        def recommend(user, k, context, seen):
            self.log[stage].append((int(user), k, context, [*map(int, seen)]))

        return SimpleNamespace(recommend=recommend)

    def contexts(self, stage, requests):
        assert requests is self.requests
        return ["a", "b", "c"]


def test_each_pair_is_asked_for_one_user_after_another():
    chain = Chain(repeats=4)
    found = measure_calls(chain)
    assert list(found["latency_ms"]) == list(TIMED[:2])
    for times in found["latency_ms"].values():
        assert times["p50"] <= times["p95"] <= times["p99"]
    # 10 calls of warm-up, and 4 rounds of one not counted and one that is.
    asked = [(10, 10, "a", [7]), (20, 10, "b", []), (30, 10, "c", [8, 9])]
    for name in TIMED[:2]:
        assert chain.log[name] == (6 * asked)[:18]
    assert chain.log["students_of_another_run"] == []
