"""Every form of a run's rankers says the same of the same request."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "experiments" / "benchmarks"


@pytest.fixture(scope="module")
def contenders(finished, tmp_path_factory):
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import ranking_contenders as ranking
    finally:
        sys.path.remove(str(BENCHMARKS))
    folder = finished.copy(tmp_path_factory.mktemp("latency") / "run")
    stages = ranking.load_stages(folder, finished.config)
    made = ranking.Contest(stages, candidates=30, top_k=5).make()
    return ranking, made


def test_forms_of_a_network_agree(contenders):
    _, made = contenders
    differences = {c.name: c.difference for c in made if c.difference}
    int8 = [name for name in differences if "int8" in name]
    for name, apart in differences.items():
        assert apart < (0.2 if name in int8 else 1e-4), name
    assert {c.name for c in made} >= {
        "teacher",
        "teacher_dcn",
        "student, user once",
        "pruned, items known",
        "pruned, LiteRT float32, user once",
        "pruned, SavedModel rank",
    }
    assert made[0].name == "teacher"
    assert made[0].parameters > 2 * made[-1].parameters > 0


def test_calls_are_timed_by_turns(contenders):
    ranking, made = contenders
    times = ranking.measure_calls(made[:2], repeats=2, calls=3, warmup=1)
    assert {name: len(x) for name, x in times.items()} == {
        c.name: 6 for c in made[:2]
    }
    assert all(x > 0 for values in times.values() for x in values)
