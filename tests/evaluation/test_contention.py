import os
import time

import pytest

from kd_tfrs.evaluation import contention
from kd_tfrs.evaluation.contention import Contention, ContentionMeter


@pytest.fixture
def read(monkeypatch):
    """What a meter reads between two states of the machine."""

    def read(before, after, own, core, load=2.5):
        states, worked = iter([before, after]), iter([30.0, 30.0 + own])
        monkeypatch.setattr(contention, "_core_times", lambda: next(states))
        monkeypatch.setattr(time, "process_time", lambda: next(worked))
        monkeypatch.setattr(os, "getloadavg", lambda: (load, 9.0, 9.0))
        monkeypatch.setattr(os, "cpu_count", lambda: 2)
        return ContentionMeter(core).read()

    return read


def test_shares_are_without_what_the_process_did(read):
    """10 s on each core: 9 busy on core 0, 4 on core 1; 6 of them our own."""
    before = {0: (100.0, 900.0), 1: (200.0, 900.0)}
    after = {0: (109.0, 910.0), 1: (204.0, 910.0)}
    found = read(before, after, own=6.0, core=0)
    assert found.core == 0
    assert found.core_share == pytest.approx(0.3)
    assert found.machine_share == pytest.approx(0.35)
    assert found.load == 2.5
    assert found.num_cores == 2
    assert str(found) == (
        "other processes took 30 % of core 0 and 35 % of all 2 cores"
    )


def test_ticks_that_are_late_are_no_share_below_zero(read):
    before, after = {0: (1.0, 10.0)}, {0: (1.9, 11.0)}
    assert read(before, after, own=0.95, core=0).core_share == 0


def test_without_pinning_the_machine_alone_is_recorded(read):
    before, after = {0: (1.0, 10.0)}, {0: (1.5, 11.0)}
    found = read(before, after, own=0.1, core=None)
    assert found.core_share is None
    assert found.machine_share == pytest.approx(0.4)
    assert str(found) == "other processes took 40 % of all 2 cores"


def test_without_core_times_there_is_the_load(read):
    found = read({}, {}, own=0.1, core=1)
    assert found.core_share is None
    assert found.machine_share is None
    assert str(found) == "load 2.5 on all 2 cores"


def test_there_may_be_no_load(monkeypatch):
    monkeypatch.delattr(os, "getloadavg", raising=False)
    monkeypatch.setattr(contention, "_core_times", dict)
    found = ContentionMeter().read()
    assert found.load is None
    assert not found.is_busy
    assert "load unknown" in str(found)


@pytest.mark.parametrize(
    ("core_share", "machine_share", "load", "expected"),
    [
        (0.01, 0.1, 9.0, False),  # the load is what we did a minute ago
        (0.5, 0.3, 0.0, True),
        (0.0, 0.7, 0.0, True),
        (None, 0.7, 0.0, True),
        (None, 0.3, 9.0, False),
        (None, None, 2.4, False),  # 1.25 processes a core
        (None, None, 2.6, True),
    ],
)
def test_busy(core_share, machine_share, load, expected):
    found = Contention(1, core_share, machine_share, load, num_cores=2)
    assert found.is_busy == expected
    assert (found.warning is not None) == expected


def test_the_warning_names_what_was_seen():
    warning = Contention(1, 0.5, 0.3, 2.0, 2).warning
    assert "50 % of core 1" in warning
    assert "not to be trusted" in warning


def test_mean_of_what_is_known():
    readings = [
        Contention(1, 0.5, 0.25, 2.0, 2),
        Contention(1, 0.1, None, 4.0, 2),
    ]
    assert Contention.mean(readings) == Contention(
        core=1,
        core_share=pytest.approx(0.3),
        machine_share=0.25,
        load=3.0,
        num_cores=2,
    )
    unknown = Contention(None, None, None, None, 2)
    assert Contention.mean([unknown, unknown]) == unknown


def test_a_reading_of_this_machine():
    found = ContentionMeter().read()
    assert found.num_cores == os.cpu_count()
    assert found.machine_share is None or 0 <= found.machine_share <= 1
    assert contention._LOAD_LIMIT > 1
