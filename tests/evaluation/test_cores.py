import os
import threading

import pytest

from kd_tfrs.evaluation import contention as cores
from kd_tfrs.evaluation.contention import (
    _busy_share,
    _core_times,
    idlest_core,
    pinned,
)

needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="no sched_setaffinity"
)

# 100 ticks a second, as nearly everywhere; user, nice, system, idle, iowait,
# irq, softirq, steal, guest, guest_nice.
STAT = """cpu  1000 0 500 5000 0 0 0 0 0 0
cpu0 100 10 50 700 30 5 3 2 40 0
cpu1 900 0 50 50 0 0 0 0 0 0
intr 12345 0 0
ctxt 678
"""


@pytest.fixture
def stat(tmp_path, monkeypatch):
    path = tmp_path / "stat"
    monkeypatch.setattr(cores, "_STAT", path)
    monkeypatch.setattr(os, "sysconf", lambda name: 100)
    return path


def test_core_times_are_seconds(stat):
    stat.write_text(STAT)
    # Core 0: 170 ticks busy (guests are counted in user), 730 idle.
    assert _core_times() == {
        0: pytest.approx((1.7, 9.0)),
        1: pytest.approx((9.5, 10.0)),
    }


def test_there_may_be_no_core_times(stat):
    assert _core_times() == {}


def test_busy_share():
    one = (1.0, 10.0), (1.75, 11.0)
    assert _busy_share([one]) == pytest.approx(0.75)
    assert _busy_share([one, ((0.0, 0.0), (0.25, 1.0))]) == pytest.approx(0.5)
    assert _busy_share([one], own=0.25) == pytest.approx(0.5)
    assert _busy_share([((1.0, 10.0), (1.0, 10.0))]) is None
    assert _busy_share([]) is None


@pytest.mark.parametrize(
    ("busy", "allowed", "expected"),
    [
        ((0.9, 0.1, 0.5), {0, 1, 2}, 1),
        ((0.9, 0.1, 0.5), {0, 2}, 2),
        ((0.0, 0.0, 0.0), {0, 1, 2}, 2),
        (None, {0, 1}, 1),
    ],
)
def test_the_idlest_of_the_allowed_cores(busy, allowed, expected, monkeypatch):
    readings = iter(
        [
            dict.fromkeys(range(3), (7.0, 50.0)),
            {core: (7.0 + share, 51.0) for core, share in enumerate(busy)},
        ]
        if busy
        else [{}, {}]
    )
    monkeypatch.setattr(cores, "_core_times", lambda: next(readings))
    monkeypatch.setattr(
        os, "sched_getaffinity", lambda who: allowed, raising=False
    )
    assert idlest_core(seconds=0) == expected


def affinities():
    return {thread: os.sched_getaffinity(thread) for thread in cores._threads()}


class Waiting:
    """A thread that is there until it is let go."""

    def __init__(self):
        self._end, begun = threading.Event(), threading.Event()

        def work():
            begun.set()
            self._end.wait()

        self._thread = threading.Thread(target=work)
        self._thread.start()
        begun.wait()

    @property
    def cores(self):
        return os.sched_getaffinity(self._thread.native_id)

    def end(self):
        self._end.set()
        self._thread.join()


@pytest.fixture
def waiting():
    made = []

    def make():
        made.append(Waiting())
        return made[-1]

    yield make
    for thread in made:
        thread.end()


@needs_affinity
def test_every_thread_is_pinned_and_let_go(waiting):
    allowed = os.sched_getaffinity(0)
    before, inside = waiting(), None
    for core in sorted(allowed):
        with pinned(core) as found:
            assert found == core
            inside = waiting()
            assert os.sched_getaffinity(0) == before.cores == {core}
            assert inside.cores == {core}
        assert os.sched_getaffinity(0) == before.cores == allowed
        assert inside.cores == allowed


@needs_affinity
def test_each_thread_gets_back_what_it_had(waiting):
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        pytest.skip("one core only")
    other = waiting()
    os.sched_setaffinity(other._thread.native_id, {allowed[0]})
    with pinned(allowed[1]):
        assert other.cores == {allowed[1]}
    assert other.cores == {allowed[0]}
    assert os.sched_getaffinity(0) == set(allowed)


@needs_affinity
def test_an_error_lets_go_too():
    before = os.sched_getaffinity(0)
    inside = []

    def fail():
        with pinned():
            inside.append(len(os.sched_getaffinity(0)))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert inside == [1]
    assert os.sched_getaffinity(0) == before


@needs_affinity
def test_without_a_number_the_idlest_core(monkeypatch):
    core = min(os.sched_getaffinity(0))
    monkeypatch.setattr(cores, "idlest_core", lambda: core)
    with pinned() as found:
        assert found == core


@needs_affinity
def test_a_core_that_is_not_there_changes_nothing():
    before = os.sched_getaffinity(0)
    with pinned(10**4) as found:
        assert found is None
        assert os.sched_getaffinity(0) == before


def test_a_system_without_pinning_is_reported(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with pinned(0) as found:
        assert found is None
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert idlest_core() is None
