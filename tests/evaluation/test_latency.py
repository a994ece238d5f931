"""Times by a clock that the tests turn on; nothing here waits."""

import itertools
import time

import numpy as np
import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation import measure_in_turns, measure_latency
from kd_tfrs.evaluation.latency import percentiles


class World:
    """A clock in nanoseconds, and calls that take time and are written down."""

    def __init__(self):
        self.now = 0
        self.log = []

    def clock(self):
        return self.now

    def call(self, name, *milliseconds):
        """Takes these times in turn, the last one for good."""
        left = itertools.chain(milliseconds, itertools.repeat(milliseconds[-1]))

        def call():
            self.log.append(name)
            self.now += round(1e6 * next(left))

        return call


@pytest.fixture
def world():
    return World()


def test_latency_is_in_milliseconds_without_the_warm_up(world, monkeypatch):
    monkeypatch.setattr(time, "perf_counter_ns", world.clock)
    # The first calls are slow, as those of a traced function are.
    call = world.call("call", 50, 50, *range(1, 102))
    found = measure_latency(call, warmup=2, repeats=101)
    assert len(world.log) == 103
    # 1 to 101 ms: the p-th percentile is p + 1.
    assert found == pytest.approx({"p50": 51, "p95": 96, "p99": 100})


def test_latency_needs_repeats():
    with pytest.raises(UserError, match="`repeats`"):
        measure_latency(lambda: None, repeats=0)


def turns(log, calls):
    """The name of each turn; a turn is `calls` calls of one name."""
    assert len(log) % calls == 0
    found = [log[i : i + calls] for i in range(0, len(log), calls)]
    assert all(len(set(turn)) == 1 for turn in found)
    return [turn[0] for turn in found]


def test_calls_are_made_in_turns_in_an_order_drawn_anew(world):
    calls = {name: world.call(name, 1) for name in "abc"}
    measure_in_turns(
        calls, rounds=40, calls_per_round=2, warmup=4, clock=world.clock
    )
    # The warm-up, then turns of one call that is not counted and two that are.
    assert world.log[:12] == [*"aaaabbbbcccc"]
    order = turns(world.log[12:], calls=3)
    rounds = [tuple(order[i : i + 3]) for i in range(0, 120, 3)]
    assert {tuple(sorted(names)) for names in rounds} == {("a", "b", "c")}
    # All six orders, so that no call always follows the same other one.
    assert set(rounds) == set(itertools.permutations("abc"))


def test_the_order_is_that_of_the_seed(world):
    logs = []
    for seed in (3, 3, 4):
        world.log.clear()
        calls = {name: world.call(name, 1) for name in "abcd"}
        measure_in_turns(calls, seed=seed, clock=world.clock)
        logs.append([*world.log])
    assert logs[0] == logs[1] != logs[2]


def test_times_are_of_the_counted_calls(world):
    # 2 calls of warm-up; then, in each of 2 rounds, 1 not counted and 3 that
    # are. "a" takes 7 ms where it is not counted.
    calls = {
        "a": world.call("a", 7, 7, 7, 1, 2, 6, 7, 3, 3, 9),
        "b": world.call("b", 5),
    }
    found = measure_in_turns(
        calls, rounds=2, calls_per_round=3, warmup=2, clock=world.clock
    )
    assert list(found) == ["a", "b"]
    assert found["a"].milliseconds.tolist() == [[1, 2, 6], [3, 3, 9]]
    assert found["a"].medians.tolist() == [2, 3]
    assert found["b"].milliseconds.tolist() == [[5, 5, 5]] * 2


def test_what_slows_the_machine_slows_all_calls_of_a_round(world):
    """Ratios of rounds are exact where those of all times are not."""
    made = itertools.count()

    def call(milliseconds):
        def one():
            # 4 calls a round: of 2 names, 1 not counted and 1 that is.
            slowness = 1 + (next(made) // 4) ** 2 % 7
            world.now += round(1e6 * milliseconds * slowness)

        return one

    found = measure_in_turns(
        {"slow": call(6), "fast": call(2)},
        rounds=20,
        calls_per_round=1,
        warmup=0,
        clock=world.clock,
    )
    assert set(found["fast"].medians) == {2, 4, 6, 10}
    ratios = found["slow"].medians / found["fast"].medians
    np.testing.assert_allclose(ratios, 3)


def test_rounds_go_on_until_the_time_is_over(world, monkeypatch):
    monkeypatch.setattr(time, "monotonic", lambda: world.now / 1e9)
    call = world.call("call", 100)
    # 0.2 s a round (1 call that is not counted, 1 that is): the fifth one
    # begins at 0.8 s, a sixth would at 1 s.
    options = {"calls_per_round": 1, "warmup": 0, "clock": world.clock}
    found = measure_in_turns({"a": call}, rounds=2, seconds=0.9, **options)
    assert found["a"].milliseconds.shape == (5, 1)
    # The least number of rounds counts where there is less time.
    found = measure_in_turns({"a": call}, rounds=7, seconds=0.9, **options)
    assert found["a"].milliseconds.shape == (7, 1)


@pytest.mark.parametrize("name", ["rounds", "calls_per_round"])
def test_counts_are_positive(name):
    with pytest.raises(UserError, match=f"`{name}`"):
        measure_in_turns({"a": lambda: None}, **{name: 0})


def test_there_is_something_to_measure():
    with pytest.raises(UserError, match="`calls` should hold at least one"):
        measure_in_turns({})


def test_percentiles_are_over_all_calls():
    # 0 to 200 in any shape: the p-th percentile is 2 p.
    times = np.random.default_rng(0).permutation(201).reshape(3, 67)
    assert percentiles(times) == pytest.approx(
        {"p50": 100, "p95": 190, "p99": 198}
    )
