"""Retrieval and ranking end to end, against a loop over users in NumPy."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.export.ranking import KerasRanker
from kd_tfrs.workflow.pipeline import experiment, truth
from kd_tfrs.workflow.pipeline.experiment import run_pipeline, train_and_run
from kd_tfrs.workflow.pipeline.quality import accuracy
from kd_tfrs.workflow.pipeline.stages import PAIRS
from kd_tfrs.workflow.ranking.config import RankingConfig
from kd_tfrs.workflow.retrieval import measure
from kd_tfrs.workflow.retrieval.config import Config
from kd_tfrs.workflow.retrieval.stages import Stages
from kd_tfrs.workflow.run import Run

RETRIEVED = 12


def cut(file):
    """The split by time, made by hand: 80 % before, 10 % and 10 % after."""
    events = pd.read_csv(file)
    first = round(0.8 * len(events)), round(0.9 * len(events))
    return events[: first[0]], events[first[0] : first[1]], events[first[1] :]


def by_definition(ranked, retrieved, relevant):
    """NDCG and recall of one user's lists of ids."""
    gains = [
        1 / math.log2(place + 2)
        for place, item in enumerate(ranked[:10])
        if item in relevant
    ]
    ideal = sum(1 / math.log2(p + 2) for p in range(min(10, len(relevant))))
    reachable = min(10, len(relevant & set(retrieved)))
    return {
        "ndcg@10": sum(gains) / ideal,
        "recall@10": len(gains) / len(relevant),
        f"retrieved_recall@{RETRIEVED}": len(relevant & set(retrieved))
        / len(relevant),
        "best_ndcg@10": sum(1 / math.log2(p + 2) for p in range(reachable))
        / ideal,
    }


def slow_models(chain, retrieval, ranking):
    """Both models by other means: embedded beforehand, encoded each time."""
    side = chain.retrieval.chain
    # What the run exports here is its pruned student.
    stage = "pruned" if retrieval == "shipped" else retrieval
    model, encoded = side.model(stage), side.learner.encoded(stage)
    slow = measure.embed(model, encoded, side.prepared).scorer(side.prepared)
    fast = chain.ranking.ranker(ranking)
    tables = chain.ranking.tables
    return slow, KerasRanker(fast.network, fast.tasks, fast.inputs, tables)


def users_one_by_one(chain, stage, file, context_names, part="test"):
    """Who asks, one after another: what is retrieved, scores, relevant."""
    train, validation, test = cut(file)
    past, asked = {
        "test": (pd.concat([train, validation]), test),
        "validation": (train, validation),
    }[part]
    liked, pair = asked[asked["rating"] >= 4], PAIRS[stage]
    scorer, ranker = slow_models(chain, pair.retrieval, pair.ranking)
    items = chain.retrieval.chain.prepared.catalogue.item_ids
    for user in np.unique(liked["user_id"]):
        seen = set(past.loc[past["user_id"] == user, "item_id"])
        scores = scorer.score([user], items[None])[0]
        best = sorted(
            (-score, item)
            for score, item in zip(scores, items, strict=True)
            if item not in seen
        )[:RETRIEVED]
        when = asked.loc[asked["user_id"] == user, "timestamp"].iloc[0]
        context = {
            "hour": when // 3600 % 24,
            "weekday": (when // 86_400 + 3) % 7,
        }
        retrieved = [item for _, item in best]
        ranked = ranker.rank(
            user,
            retrieved,
            RETRIEVED,
            {name: context[name] for name in context_names},
        )
        relevant = set(liked.loc[liked["user_id"] == user, "item_id"]) - seen
        yield user, [-score for score, _ in best], retrieved, ranked, relevant


def expected_of(chain, stage, file, context_names):
    """Metrics of all users who ask, by id."""
    found = {
        user: by_definition(ranked[0].tolist(), retrieved, relevant)
        for user, _, retrieved, ranked, relevant in users_one_by_one(
            chain, stage, file, context_names
        )
    }
    return pd.DataFrame(found).T


def state(folder):
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


def test_against_a_loop_over_users(world, tmp_path):
    """A teacher that looks at the hour, and a student that does not."""
    train, _, _ = cut(world.file)
    folders = world.base / "retrieval", world.base / "ranking"
    before = [state(folder) for folder in folders]
    stages = {"teacher_teacher": ["hour", "weekday"], "student_student": []}
    with world.chain(tmp_path / "run") as chain:
        found = {
            stage: (
                expected_of(chain, stage, world.file, names),
                chain.per_user(stage),
            )
            for stage, names in stages.items()
        }
    assert before == [state(f) for f in folders], "runs are read, not changed"
    rows = {row["stage"]: row for row in world.found["stages"]}
    for stage, (table, per_user) in found.items():
        for name in table:
            np.testing.assert_allclose(
                per_user[name], table[name], err_msg=f"{stage} {name}"
            )
        row, known = rows[stage], table.index.isin(train["user_id"])
        assert row["users"] == len(table)
        means = row["metrics"]["ndcg@10"], table["ndcg@10"].mean()
        assert means[0] == pytest.approx(means[1])
        assert row["slices"]["new_users"]["users"] == (~known).sum() > 0
        part = row["slices"]["known_users"]["metrics"]["recall@10"]
        assert part == pytest.approx(table["recall@10"][known].mean())


def test_metrics_by_hand():
    """Two users, two relevant each: at places 2 and 10, and none at all."""
    hits = np.zeros((2, 10), bool)
    hits[0, [1, 9]] = True
    found = np.zeros((2, 12), bool)
    found[0, [0, 11]] = found[1, 5] = True
    values = accuracy(hits, found, np.array([2, 2]))
    ideal = 1 + 1 / math.log2(3)
    gain = 1 / math.log2(3) + 1 / math.log2(11)
    np.testing.assert_allclose(values["ndcg@10"], [gain / ideal, 0])
    assert values["recall@10"].tolist() == [1, 0]
    assert values["retrieved_recall@12"].tolist() == [1, 0.5]
    np.testing.assert_allclose(values["best_ndcg@10"], [1, 1 / ideal])
    assert "recall@20" not in values


def test_the_exports_answer_as_the_models(world):
    rows = {row["stage"]: row["metrics"] for row in world.found["stages"]}
    exported = {"student_student": "exports", "student_blend": "exports_blend"}
    assert set(world.found["parity"]) == set(exported)
    for name, same in world.found["parity"].items():
        assert same["identical_lists"] == same["same_items"] == 1
        assert same["max_score_difference"] < 1e-4
        assert same["users"] == world.found["stages"][0]["users"]
        assert rows[exported[name]] == rows[name]


def test_the_weight_of_a_blend_is_chosen_on_validation(world, tmp_path):
    """NDCG@10 of all eleven weights, user by user; test is not asked."""
    told = world.found["weighing"]["student_blend"]
    expected = {row["retrieval_weight"]: [] for row in told["validation"]}
    assert list(expected) == [i / 10 for i in range(11)]
    with world.chain(tmp_path / "run") as chain:
        users = list(
            users_one_by_one(
                chain, "student_student", world.file, [], "validation"
            )
        )
    for _, scores, retrieved, ranked, relevant in users:
        ranking = dict(zip(*ranked, strict=True))
        both = np.array([scores, [ranking[i] for i in retrieved]], np.float64)
        both -= both.mean(axis=1, keepdims=True)
        both /= both.std(axis=1, keepdims=True)
        for weight, values in expected.items():
            blend = weight * both[0] + (1 - weight) * both[1]
            order = np.array(retrieved)[np.argsort(-blend, kind="stable")]
            found = by_definition(order.tolist(), retrieved, relevant)
            values.append(found["ndcg@10"])
    means = {weight: np.mean(values) for weight, values in expected.items()}
    for row in told["validation"]:
        mean = means[row["retrieval_weight"]]
        assert row["ndcg@10"] == pytest.approx(mean)
    best = max(means.values())
    assert means[told["retrieval_weight"]] == pytest.approx(best)
    assert best > min(means.values())
    rows = {row["stage"]: row for row in world.found["stages"]}
    for name in ("student_blend", "exports_blend"):
        assert rows[name]["retrieval_weight"] == told["retrieval_weight"]
    assert rows["student_student"]["retrieval_weight"] is None


def test_a_weight_may_be_given(world, tmp_path):
    """With 1 the retrieval has the last word."""
    folder = tmp_path / "given"
    found = run_pipeline(
        world.config(retrieval_weight=1.0), folder, say=lambda line: None
    )
    rows = {row["stage"]: row["metrics"] for row in found["stages"]}
    for one, other in (
        ("student_blend", "student_retrieval"),
        ("teacher_blend", "teacher_retrieval"),
    ):
        assert rows[one] == pytest.approx(rows[other])
    assert found["weighing"] == {}
    assert "--retrieval_weight=1 was given" in (
        folder / "pipeline.md"
    ).read_text("utf-8")


def test_what_a_run_leaves(world):
    folder = world.base / "both"
    there = {path.name for path in folder.iterdir()}
    assert {"pipeline.json", "pipeline.md", "pipeline.png"} <= there
    assert {"log.txt", "flags.json", "environment.json"} <= there
    kept = json.loads((folder / "pipeline.json").read_text())
    assert [r["stage"] for r in kept["stages"]][:5] == list(PAIRS)[:5]
    tested = {(t["baseline"], t["challenger"]) for t in kept["comparisons"]}
    assert ("teacher_teacher", "student_student") in tested
    text = (folder / "pipeline.md").read_text()
    for words in (
        "teacher + teacher",
        "New users",
        "Holm",
        "p50",
        "impress",
        "taken",
    ):
        assert words in text
    times = kept["latency"]["latency_ms"]
    assert {"teacher_teacher", "student_student", "exports"} <= set(times)
    assert all(0 < t["p50"] <= t["p99"] for t in times.values())


def test_what_is_done_is_not_done_again(world, tmp_path, monkeypatch):
    folder = world.copy(tmp_path / "again")
    (folder / "stages" / "exports.json").unlink()
    # A row of a folder that is older than the blend.
    row = json.loads((folder / "stages" / "popularity.json").read_text())
    del row["retrieval_weight"]
    (folder / "stages" / "popularity.json").write_text(json.dumps(row))
    made = []

    class Watched(experiment.PipelineStages):
        def _measure(self, stage):
            made.append(stage)
            return super()._measure(stage)

    monkeypatch.setattr(experiment, "PipelineStages", Watched)
    found = run_pipeline(world.config(), folder, say=lambda line: None)
    assert made == ["exports"]
    assert found["stages"][0] == row
    assert found["stages"][1:] == world.found["stages"][1:]
    assert found["latency"] == world.found["latency"]
    with pytest.raises(UserError, match="--num_retrieved was 12, now 11"):
        run_pipeline(world.config(num_retrieved=11), folder)


def test_mistakes_end_in_one_line(world, tmp_path):
    def refused(match, **changes):
        with pytest.raises(UserError, match=match):
            run_pipeline(world.config(**changes), tmp_path / "run")

    refused("should be given together", ranking_run=None)
    refused("which has no flags.json", retrieval_run=str(tmp_path))
    (tmp_path / "flags.json").write_text("{not")
    refused(
        "flags.json .* Received: a damaged file", retrieval_run=str(tmp_path)
    )
    other = str(world.base / "ranking")
    refused("Received: .* with --task=ranking", retrieval_run=other)
    changes = {"split": "ratio", "dataset": str(world.file)}
    for name, flags, told in (
        ("split", {}, "same split.*--split is 'ratio' and 'time'"),
        ("data", {"min_label": 3.0}, "same data.*--min_label is 3.0 and None"),
    ):
        config = Config.from_flat(changes | flags)
        run = Run(tmp_path / name, config, log=False)
        Stages(run).prepared  # noqa: B018
        run.close()
        refused(told, retrieval_run=str(tmp_path / name))
    with pytest.raises(UserError, match="`--split` should be time"):
        train_and_run(
            world.config(),
            Config.from_flat({"split": "ratio"}),
            RankingConfig(),
            tmp_path / "trained",
        )


def test_both_are_trained_where_none_is_given(tmp_path, monkeypatch):
    """The runs get the same files and split; the measurement gets the runs."""
    asked = {}

    def keep(name):
        def run(config, directory, **options):
            asked[name] = config, directory

        return run

    monkeypatch.setattr(experiment.experiment, "run_experiment", keep("one"))
    monkeypatch.setattr(
        experiment.ranking_experiment, "run_experiment", keep("two")
    )
    monkeypatch.setattr(experiment, "run_pipeline", keep("both"))
    config = experiment.PipelineConfig()
    small = {"num_events": 300}
    train_and_run(
        config,
        Config.from_flat(small),
        RankingConfig.from_flat(small),
        tmp_path,
        say=lambda line: None,
    )
    for name in ("one", "two"):
        data = asked[name][0].data
        assert (data.dataset, data.split) == (str(tmp_path / "data"), "time")
    assert len(pd.read_csv(tmp_path / "data" / "events.csv")) == 300
    both = asked["both"][0].pipeline
    assert both.retrieval_run == str(asked["one"][1])
    assert both.ranking_run == str(asked["two"][1])


def test_nothing_relevant_is_told(world, tmp_path, monkeypatch):
    monkeypatch.setattr(
        truth, "relevant_rows", lambda prepared, least, part: np.zeros(50, bool)
    )
    with world.chain(tmp_path / "run") as chain:
        with pytest.raises(UserError, match=r"The test .* Take other data\."):
            chain.requests  # noqa: B018
        with pytest.raises(UserError, match=r"The validation .* or give --r"):
            chain.validation_requests  # noqa: B018
