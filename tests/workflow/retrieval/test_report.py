"""What a retrieval run says at its end, of constructed rows."""

import numpy as np
import pandas as pd
import pytest

from kd_tfrs.testing.retrieval import tiny_interactions
from kd_tfrs.workflow import report
from kd_tfrs.workflow.cautions import Cautions
from kd_tfrs.workflow.retrieval.config import Config
from kd_tfrs.workflow.retrieval.prepare import prepare, prepare_interactions
from kd_tfrs.workflow.retrieval.report import TESTED, RetrievalReport
from kd_tfrs.workflow.retrieval.stages import Stages
from kd_tfrs.workflow.run import Run

METRIC = "ndcg@10"
FASTER = {"ratio": 9.04, "low": 8.1, "high": 10.2}
CHOICE = {
    "name": "int8",
    "reason": "int8 ships: the smallest form within 1.0%",
    "max_loss": 0.01,
    "losses": {"distilled": 0.0, "int8": -0.002, "pruned": 0.05},
    "margins": {"distilled": 0.0, "int8": 0.001, "pruned": 0.004},
}
# The lead is .2 - .1; the export keeps .08 of it, and .18 of .2.
ROWS = [
    {"stage": "teacher", "metrics": {METRIC: 0.2}, "model_bytes": 8000},
    {"stage": "student", "metrics": {METRIC: 0.1}, "model_bytes": 800},
    {"stage": "distilled", "metrics": {METRIC: 0.19}, "model_bytes": 800},
    {"stage": "int8", "metrics": {METRIC: 0.18}, "model_bytes": 250},
    {
        "stage": "pruned",
        "metrics": {METRIC: 0.15},
        "model_bytes": 600,
        "sparsity": 0.254,
    },
    {
        "stage": "saved_model",
        "metrics": {METRIC: 0.18},
        "model_bytes": 250,
        "choice": CHOICE,
    },
]


def paired(baseline, challenger, p_value, metric=METRIC):
    return {
        "baseline": baseline,
        "challenger": challenger,
        "metric": metric,
        "p_value": p_value,
    }


TESTS = [
    paired("student", "teacher", 0.4, metric="recall@50"),
    paired("student", "teacher", 3e-7),
    paired("student", "distilled", 0.01),
]


def cautions_of(chain, rows, tests):
    cautions = Cautions(lambda line: None)
    RetrievalReport(chain).early_cautions(cautions, rows)
    RetrievalReport(chain).late_cautions(cautions, tests)
    return cautions.lines


@pytest.fixture(scope="module")
def unrated():
    """Data whose events have no rating."""
    return prepare_interactions(tiny_interactions())


@pytest.fixture
def chain_with(tmp_path, unrated):
    """Stages of a run whose results are what is given."""
    runs = []

    def build(rows=(), latency=None, **options):
        config = Config.from_flat(
            {"eval_latency_seconds": 1.0 if latency else 0.0, **options}
        )
        runs.append(Run(tmp_path / f"run-{len(runs)}", config))
        for row in rows:
            runs[-1].write_json(f"stages/{row['stage']}.json", row)
        if latency:
            runs[-1].write_json("stages/latency.json", latency)
        chain = Stages(runs[-1])
        chain.prepared = unrated
        return chain

    yield build
    for run in runs:
        run.close()


@pytest.fixture
def rated(chain_with, tmp_path):
    """A chain over events whose ratings are given in turn."""

    def build(ratings, **options):
        rows = [
            (f"u{u}", f"i{(u + p) % 15}") for u in range(9) for p in range(12)
        ]
        table = pd.DataFrame(rows, columns=["user_id", "item_id"])
        if ratings is not None:
            table["rating"] = np.resize(ratings, len(table))
        table.to_csv(tmp_path / "events.csv", index=False)
        chain = chain_with(dataset=str(tmp_path / "events.csv"), **options)
        config = chain.config
        chain.prepared = prepare(config.data, config.evaluation, 0)
        return chain

    return build


def test_the_sentence_has_the_shares_of_the_export(chain_with):
    chain = chain_with()
    rows = RetrievalReport(chain).rows(TESTS, ROWS)

    text = RetrievalReport(chain).sentence(rows, TESTS)

    # 8000 / 250 = 32.
    assert text == (
        "The shipped file keeps 90 % of the teacher's NDCG@10 (80 % of its "
        "lead over the student alone, p < 1e-6) and is 32 times smaller."
    )


def test_the_sentence_has_the_latency_of_the_large_catalogue(chain_with):
    latency = {
        "rows": {
            "teacher": {"latency_ms": {"p50": 1.0}, "times_faster": None},
            "student": {"latency_ms": {"p50": 0.6}, "times_faster": FASTER},
            "distilled": {"latency_ms": {"p50": 0.6}, "times_faster": FASTER},
            "saved_model": {
                "latency_ms": {"p50": 0.5},
                "times_faster": {"ratio": 2.0, "low": 1.9, "high": 2.1},
                "times_faster_100k": FASTER,
            },
        },
        "warning": None,
    }
    chain = chain_with(ROWS, latency)
    rows = RetrievalReport(chain).rows(TESTS, ROWS)

    assert rows[-1]["latency_ms"] == {"p50": 0.5}
    assert "latency_ms" not in rows[3], "int8 was not measured"
    text = RetrievalReport(chain).sentence(rows, TESTS)
    assert text.endswith("answers 9 times faster with 100,000 items.")
    # An interval that holds 1 is noise.
    rows[-1]["times_faster_100k"] = {"ratio": 1.1, "low": 0.9, "high": 1.3}
    text = RetrievalReport(chain).sentence(rows, TESTS)
    assert "answers as fast within the noise with 100,000 items" in text


def test_there_is_no_sentence_without_an_export_or_a_teacher(chain_with):
    chain = chain_with()
    for rows in (ROWS[:-1], ROWS[1:]):
        rows = RetrievalReport(chain).rows(TESTS, rows)
        assert RetrievalReport(chain).sentence(rows, TESTS) is None


def test_a_lead_that_is_not_significant_is_no_share(chain_with):
    chain = chain_with()
    tests = [paired("student", "teacher", 0.2)]
    rows = RetrievalReport(chain).rows(tests, ROWS)
    assert rows[-1]["kept"] == {"quality": pytest.approx(0.9), "lead": None}
    text = RetrievalReport(chain).sentence(rows, tests)
    assert "no significant lead over the student alone, p = 0.2" in text


def test_p_values_are_of_the_pair_and_the_metric():
    assert report.p_value(TESTS, ("student", "teacher"), METRIC) == 3e-7
    assert report.p_value(TESTS, ("student", "teacher"), "recall@50") == 0.4
    assert report.p_value(TESTS, ("student", "saved_model"), METRIC) is None
    assert report.significance(TESTS) == {METRIC: TESTS[2]}


def test_the_choice_names_the_sizes_and_losses_of_all_forms():
    assert report.choice_text(ROWS) == (
        "int8 ships: the smallest form within 1.0%. Validation loss of each "
        "form: distilled 800 B +0.0%, int8 250 B -0.2% (up to -0.1%), "
        "pruned (25% zeros) 600 B +5.0% (up to +5.4%)."
    )
    assert report.choice_text(ROWS[:-1]) is None


def test_a_teacher_behind_anything_is_a_warning(chain_with):
    chain = chain_with()
    rows = [
        {"stage": "popularity", "metrics": {METRIC: 0.21}},
        {"stage": "als", "metrics": {METRIC: 0.19}},
        *ROWS,
    ]
    (line,) = cautions_of(chain, rows, TESTS)
    assert "(ndcg@10 0.200) is behind popularity (0.210) on test" in line
    assert line.endswith("--teacher_dropout")
    # A difference of less than 1 % is no matter: .202 - .2 = 1 % of .202.
    rows[3] = {"stage": "student", "metrics": {METRIC: 0.2019}}
    assert len(cautions_of(chain, rows, TESTS)) == 1
    rows[3] = {"stage": "student", "metrics": {METRIC: 0.2025}}
    lines = cautions_of(chain, rows, TESTS)
    assert ["popularity" in lines[0], "student alone" in lines[1]] == [True] * 2


def test_what_is_not_significant_is_a_warning(chain_with):
    tests = [paired("student", "distilled", 0.34)]
    (line,) = cautions_of(chain_with(), ROWS, tests)
    assert "in ndcg@10 (p = 0.34)" in line
    assert cautions_of(chain_with(), ROWS, TESTS) == []
    # Without a test there is nothing to say.
    assert cautions_of(chain_with(), ROWS[:2], []) == []


def test_a_busy_machine_is_a_warning(chain_with):
    stages = ("teacher", "student", "distilled", "saved_model")
    rows = {stage: {"latency_ms": {"p50": 1.0}} for stage in stages}
    latency = {"rows": rows, "warning": "the core is busy"}
    chain = chain_with(ROWS, latency)
    assert cautions_of(chain, ROWS, TESTS) == ["the core is busy"]


def test_ratings_that_all_count_as_positive_are_a_warning(rated):
    text = rated([1, 2, 3, 4, 5]).label_warning
    assert "whatever its rating (1 to 5)" in text
    # The middle is 3, which is neither liked nor disliked.
    assert "--min_label=4 leaves out" in text
    (line,) = cautions_of(rated([1, 5]), [], [])
    assert line == rated([1, 5]).label_warning
    assert "--min_label=1 " in rated([0, 1]).label_warning


def test_the_remedy_of_the_label_warning_works(rated):
    chain = rated([1, 2, 3, 4, 5, 5], min_label=4.0)
    assert chain.label_warning is None
    assert chain.prepared.split.train["rating"].min() == 4


@pytest.mark.parametrize("ratings", [None, [3]])
def test_events_without_ratings_or_all_alike_are_no_matter(rated, ratings):
    assert rated(ratings).label_warning is None


def test_every_event_of_the_embedded_data_was_chosen(chain_with):
    chain = chain_with(num_events=300)
    config = chain.config
    chain.prepared = prepare(config.data, config.evaluation, 0)
    assert chain.label_warning is None


def test_pairs_are_tested_on_the_users_of_both(chain_with):
    chain = chain_with(ROWS[:2])
    random = np.random.default_rng(0)
    alone = random.random(40)
    values = {"student": alone, "teacher": alone + 0.1 + 0.01 * alone}
    for stage, array in values.items():
        path = chain.run.path("stages", f"{stage}.npz")
        np.savez(path, **dict.fromkeys((METRIC, *TESTED), array))

    found = RetrievalReport(chain).comparisons()

    # The headline metric first; other pairs are not done.
    assert [test["metric"] for test in found] == [METRIC, *TESTED]
    for test in found:
        assert (test["baseline"], test["challenger"]) == ("student", "teacher")
        assert test["difference"] == pytest.approx(
            (values["teacher"] - alone).mean()
        )
        assert test["t_p_value"] < 1e-9
