"""A whole tiny experiment, looked at from all sides."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from kd_tfrs.errors import UserError
from kd_tfrs.workflow import experiment
from kd_tfrs.workflow.experiment import run_seeds
from kd_tfrs.workflow.naming import check_stages
from kd_tfrs.workflow.retrieval.auto_method import LARGEST_CATALOGUE
from kd_tfrs.workflow.retrieval.config import Config
from kd_tfrs.workflow.retrieval.experiment import RETRIEVAL, run_experiment
from kd_tfrs.workflow.retrieval.learner import Learner
from kd_tfrs.workflow.retrieval.naming import stage_names
from kd_tfrs.workflow.retrieval.prepare import prepare
from kd_tfrs.workflow.retrieval.stages import Stages
from kd_tfrs.workflow.run import Run
from kd_tfrs.workflow.training import get_weights

SECOND_SEED = 8
PNG = b"\x89PNG\r\n\x1a\n"
METRICS = {
    *(
        f"{name}@{k}"
        for k in (10, 20, 50)
        for name in ("recall", "ndcg", "hit_rate", "coverage", "diversity")
    ),
    "mrr",
    "map",
    "novelty@10",
    "popularity@10",
    "gini@10",
    "recall@10[new_users]",
    "recall@10[long_tail]",
}


ROW = {
    *("stage", "metrics", "kept", "times_smaller", "times_smaller_int8"),
    *("parameters", "nonzero_parameters", "model_bytes"),
    *("size_bytes", "size_bytes_gzip", "train_seconds"),
}
# What only a model tells; a version folder is asked by its signatures.
MEASURED = ("validation", "model_bytes_int8")
MORE = {
    "pruned": {*MEASURED, "sparsity"},
    "saved_model": {"choice", "parity"},
}


@pytest.fixture(scope="module")
def prepared(finished):
    config = finished.config
    return prepare(config.data, config.evaluation, config.seed)


def test_metrics_json_has_the_shape_that_readers_rely_on(finished):
    text = (finished.directory / "metrics.json").read_text()
    written = json.loads(text)
    assert written == json.loads(json.dumps(finished.found))
    assert {"dataset", "seed", "flags", "environment", "stages"} <= set(written)
    assert written["dataset"] == finished.config.data.dataset
    assert written["seed"] == finished.config.seed
    assert written["flags"] == finished.config.flat()
    assert [row["stage"] for row in written["stages"]] == list(
        stage_names(finished.config)
    )[2:]
    for row in written["stages"]:
        assert set(row) == ROW | MORE.get(row["stage"], {*MEASURED})
        assert set(row["metrics"]) >= METRICS
        assert set(row["kept"]) == {"quality", "lead"}
        for name in ("parameters", "model_bytes", "size_bytes"):
            assert isinstance(row[name], int)
            assert row[name] > 0


def test_metrics_are_shares(finished):
    for row in finished.found["stages"]:
        for name, value in row["metrics"].items():
            if value is not None and not name.startswith(
                ("novelty", "popularity")
            ):
                assert 0 <= value <= 1, name


def test_the_student_is_smaller_than_the_teacher(finished):
    teacher, student = finished.row("teacher"), finished.row("student")
    assert student["parameters"] < teacher["parameters"]
    assert student["size_bytes"] < teacher["size_bytes"]
    assert teacher["train_seconds"] > 0


def test_pruning_reaches_its_share(finished):
    pruned, dense = finished.row("pruned"), finished.row("distilled")
    assert pruned["parameters"] == dense["parameters"]
    zeros = 1 - pruned["nonzero_parameters"] / pruned["parameters"]
    wanted = min(
        finished.config.pruning.sparsities, key=lambda s: abs(s - zeros)
    )
    assert zeros == pytest.approx(wanted, abs=0.02)
    assert pruned["sparsity"] == pytest.approx(zeros, abs=0.02)
    assert dense["nonzero_parameters"] > 0.9 * dense["parameters"]


def test_forms_are_the_same_weights_stored_in_other_ways(finished):
    for form, made_from in (("int8", "distilled"), ("pruned_int8", "pruned")):
        row, source = finished.row(form), finished.row(made_from)
        assert row["train_seconds"] == 0
        for name in ("parameters", "nonzero_parameters"):
            assert row[name] == source[name]
        # One byte a weight and a scale a row, instead of four bytes a weight.
        assert row["model_bytes"] < source["model_bytes"]
    width = finished.config.student_towers.embedding_dim
    rows = finished.row("distilled")["model_bytes"] / (4 * width)
    assert finished.row("int8")["model_bytes"] == rows * (width + 4)


def test_the_export_is_the_form_that_was_chosen(finished):
    exported = finished.row("saved_model")
    chosen = finished.row(exported["choice"]["name"])
    assert exported["metrics"] == pytest.approx(chosen["metrics"], abs=1e-6)
    for name in ("parameters", "nonzero_parameters", "model_bytes"):
        assert exported[name] == chosen[name]
    assert exported["parity"]["max_score_difference"] < 1e-4
    # The titles are in the folder as well.
    assert exported["size_bytes"] > chosen["size_bytes"]


def test_sampled_protocol_stands_beside_full_ranking(finished):
    metrics = finished.row("student")["metrics"]
    assert metrics["sampled_recall@10"] >= metrics["recall@10"]


def test_baselines_are_rows_too(finished):
    stages = [row["stage"] for row in finished.found["baselines"]]
    assert stages == ["popularity", "als"]
    for row in finished.found["baselines"]:
        assert set(row["metrics"]) >= METRICS


def test_significance_is_of_distilled_against_alone(finished):
    tests = finished.found["significance"]
    assert set(tests) == {"ndcg@10", "ndcg@20", "recall@50"}
    for name, test in tests.items():
        alone = finished.row("student")["metrics"][name]
        distilled = finished.row("distilled")["metrics"][name]
        assert f"{alone:.4f} -> {distilled:.4f}" in test["text"]


def test_report_and_plots_are_there(finished):
    text = (finished.directory / "stages.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    named = [line.split("|")[1].strip() for line in lines[2:]]
    assert named == list(stage_names(finished.config))
    for one, other in (
        ("distilled", "student"),
        ("teacher", "student"),
        ("saved_model", "student"),
        ("saved_model", "distilled"),
    ):
        assert f"* ndcg@10, {one} against {other}: " in text
    for name in ("stages.png", "curves.png"):
        assert (finished.directory / name).read_bytes().startswith(PNG)
    assert any("saved_model" in line for line in finished.said)


def test_the_method_is_told_with_its_reason(finished, prepared):
    items = prepared.catalogue.num_items
    assert finished.said[1] == (
        f"distillation: soft_targets_all:1, since the catalogue has {items:,} "
        f"items, at most {LARGEST_CATALOGUE:,}"
    )


def test_the_run_ends_with_one_sentence(finished):
    found = finished.found
    assert finished.said[-1] == f"\n{found['sentence']}"
    assert found["sentence"].startswith("The shipped file keeps ")
    text = (finished.directory / "stages.md").read_text()
    assert found["sentence"] in text
    assert finished.row("saved_model")["choice"]["reason"] in text
    # Ratings are not all of one height, and no limit was given.
    assert any("--min_label=4" in line for line in found["warnings"])
    for line in found["warnings"]:
        assert f"* **Warning:** {line}." in text
        assert f"warning: {line}" in finished.said


def test_history_has_every_epoch(finished):
    for stage in ("teacher", "student", "distilled", "pruned"):
        path = finished.directory / "stages" / f"{stage}.history.json"
        history = json.loads(path.read_text())
        epochs = finished.config.flat().get(f"{stage}_epochs", 1)
        if stage == "pruned":
            # One level after the other, as far as it went.
            levels = list((finished.directory / "training").glob("pruned_*"))
            epochs = len(levels) * finished.config.pruning.epochs
        assert [row["epoch"] for row in history] == list(range(1, epochs + 1))
        distils = stage in ("distilled", "pruned")
        for row in history:
            assert {"loss", "ndcg@20"} <= set(row)
            assert ("soft_targets" in row) == distils
            # Where no method is named the labels weigh nothing.
            assert "student_loss" not in row
    folder = finished.directory / "training" / "distilled" / "tensorboard"
    assert list(folder.glob("events.out.tfevents.*"))


def test_nothing_held_out_reaches_training(finished, prepared):
    schema, parts = prepared.interactions.schema, prepared.split
    keys = [schema.user_id, schema.item_id]
    train = set(map(tuple, parts.train[keys].to_numpy()))
    for held_out in (parts.validation, parts.test):
        assert len(held_out)
        assert not train & set(map(tuple, held_out[keys].to_numpy()))
    assert len(prepared.catalogue.item_events)
    counts = parts.train[schema.item_id].value_counts()
    np.testing.assert_array_equal(
        prepared.catalogue.item_events,
        counts.reindex(prepared.catalogue.item_ids, fill_value=0),
    )


def test_towers_know_training_ids_only(finished, prepared):
    schema, parts = prepared.interactions.schema, prepared.split
    encoded = prepared.encode(finished.config.teacher_towers)
    for features, column in (
        (encoded.query, schema.user_id),
        (encoded.candidate, schema.item_id),
    ):
        trained = set(parts.train[column])
        every = set(prepared.interactions.events[column])
        feature = next(f for f in features if f.name == column)
        # Padding or unknown first, then the vocabulary.
        assert feature.vocabulary_size - 1 == len(trained)
        if column == schema.item_id:
            assert trained < every, "the data should have a cold item"


def test_no_raw_id_is_written_anywhere(finished):
    raw = [i.encode() for i in (*finished.users, *finished.items)]
    files = [p for p in finished.directory.rglob("*") if p.is_file()]
    assert len(files) > 30
    for path in files:
        if path.suffix == ".parquet":
            content = pq.read_table(path).to_pandas().to_csv().encode()
        else:
            content = path.read_bytes()
        # One look at what all raw ids have in common spares 300 others.
        for word in (b"customer-", b"article-"):
            if word in content:
                assert not [i for i in raw if i in content], path
                pytest.fail(f"{word} in {path}")
    assert not any(Path(word.decode()).name in str(files) for word in raw)


def test_titles_travel_with_the_export(finished):
    path = finished.directory / "export/retrieval/1/assets.extra/items.parquet"
    items = pd.read_parquet(path)
    assert items["title"].str.len().gt(0).all()
    assert items.iloc[:, 0].str.fullmatch("[0-9a-f]{32}").all()


def test_the_same_command_again_does_nothing_twice(finished, tmp_path):
    directory = finished.copy(tmp_path / "again")
    before = (directory / "weights" / "teacher.npz").stat().st_mtime_ns
    found = run_experiment(finished.config, directory, say=lambda _: None)
    assert found == finished.found
    assert (directory / "weights/teacher.npz").stat().st_mtime_ns == before
    versions = list((directory / "export" / "retrieval").iterdir())
    assert [v.name for v in versions] == ["1"]


def test_other_data_under_the_same_flags_is_refused(finished, tmp_path):
    directory = finished.copy(tmp_path / "other")
    (directory / "data.json").write_text('{"fingerprint": "' + "0" * 64 + '"}')
    with pytest.raises(UserError, match="data has changed"):
        run_experiment(finished.config, directory, say=lambda _: None)


def learner_of(finished, prepared, directory, **changes):
    """A learner that has the finished run's teacher."""
    options = dataclasses.replace(finished.config.distillation, **changes)
    config = dataclasses.replace(finished.config, distillation=options)
    run = Run(directory, config)
    old = finished.directory / "weights" / "teacher.npz"
    (directory / "weights").mkdir()
    (directory / "weights" / "teacher.npz").write_bytes(old.read_bytes())
    return Learner(run, prepared)


def test_a_live_teacher_teaches_what_its_cache_does(
    finished, prepared, tmp_path
):
    learner = learner_of(
        finished, prepared, tmp_path / "live", knowledge="live"
    )
    model, progress = learner.train("distilled")
    path = finished.directory / "stages" / "distilled.history.json"
    for row, kept in zip(
        progress.history, json.loads(path.read_text()), strict=True
    ):
        assert row == pytest.approx(kept, rel=1e-4, abs=1e-6)
    weights = [
        *model.query_tower.get_weights(),
        *model.candidate_tower.get_weights(),
    ]
    with np.load(finished.directory / "weights" / "distilled.npz") as cached:
        for name, weight in zip(cached.files, weights, strict=True):
            np.testing.assert_allclose(weight, cached[name], atol=1e-4)
    assert not (tmp_path / "live" / "knowledge").exists()
    learner.run.close()


def test_an_assistant_stands_between_teacher_and_student(
    finished, prepared, tmp_path
):
    """It is trained once: the second learner reads it."""
    learner = learner_of(finished, prepared, tmp_path / "chain", chain=(3,))
    assert learner.taught_by("distilled") == "assistant_0"
    model, _ = learner.train("distilled")
    assistant = learner.load("assistant_0")
    assert assistant.query_tower.output["embedding"].shape[-1] == 3

    again = Learner(learner.run, prepared)
    shutil.rmtree(learner.run.directory / "training")
    for one, other in zip(
        *map(get_weights, (model, again.train("distilled")[0])), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert not (learner.run.directory / "training" / "assistant_0").exists()
    learner.run.close()


def test_a_stage_asks_for_what_it_needs(finished, tmp_path):
    run = Run(tmp_path / "run", finished.config)
    learner = Learner(run, Stages(run).prepared)
    with pytest.raises(UserError, match="teacher should be done first"):
        learner.load("teacher")
    run.close()


def test_stages_are_checked_and_put_in_order():
    assert check_stages(["pruned", "teacher"], stage_names(Config())) == (
        "teacher",
        "pruned",
    )
    with pytest.raises(UserError, match="techer"):
        check_stages(["techer"], stage_names(Config()))
    with pytest.raises(UserError, match="none"):
        check_stages([], stage_names(Config()))


@pytest.fixture(scope="module")
def second(finished, tmp_path_factory):
    """Another seed, and the student alone of it."""
    directory = tmp_path_factory.mktemp("second") / "run"
    config = dataclasses.replace(finished.config, seed=SECOND_SEED)
    run_experiment(config, directory, stages=("student",), say=lambda _: None)
    return directory


def test_some_stages_are_run_without_the_others(second):
    found = json.loads((second / "metrics.json").read_text())
    assert [row["stage"] for row in found["stages"]] == ["student"]
    assert found["significance"] == {}
    assert not (second / "weights" / "teacher.npz").exists()
    assert not (second / "export").exists()
    assert found["sentence"] is None
    # Nobody is asked what is kept of a teacher that is not there.
    assert "| kept |" not in (second / "stages.md").read_text()


def test_other_seeds_give_other_weights(finished, second):
    weights = []
    for directory in (finished.directory, second):
        with np.load(directory / "weights" / "student.npz") as arrays:
            weights.append(arrays["arr_0"])
    assert not np.allclose(*weights)


def check_summary(summary, directory, found):
    """Means, deviations and tests, computed again from each seed's rows."""
    assert summary["seeds"] == [f["seed"] for f in found]
    for stage in ("student", "distilled"):
        values = [
            row["metrics"]["ndcg@20"]
            for f in found
            for row in f["stages"]
            if row["stage"] == stage
        ]
        written = summary["stages"][stage]["ndcg@20"]
        assert written["mean"] == pytest.approx(np.mean(values))
        assert written["deviation"] == pytest.approx(np.std(values, ddof=1))
    monitor = summary["flags"]["eval_monitor"]
    assert set(summary["significance"]) == {monitor, "ndcg@20", "recall@50"}
    written = json.loads((directory / "summary" / "summary.json").read_text())
    assert written == json.loads(json.dumps(summary))
    text = (directory / "summary" / "summary.md").read_text()
    assert "| distilled |" in text
    assert "distilled against student alone" in text


def test_seeds_are_summarised(finished, tmp_path, monkeypatch):
    asked = []

    def shifted(task, config, directory, **_):
        asked.append((config.seed, directory.name))
        found = json.loads(json.dumps(finished.found))
        found["seed"] = config.seed
        for place, row in enumerate(found["stages"]):
            row["metrics"]["ndcg@20"] += 0.01 * place * config.seed
        kept.append(found)
        return found

    kept = []
    monkeypatch.setattr(experiment, "run_experiment", shifted)
    summary = run_seeds(
        RETRIEVAL, finished.config, tmp_path, 3, say=lambda _: None
    )
    assert asked == [(3, "seed-3"), (4, "seed-4"), (5, "seed-5")]
    check_summary(summary, tmp_path, kept)


@pytest.mark.slow
def test_a_second_seed_goes_on_beside_the_first(finished, tmp_path):
    finished.copy(tmp_path / "seed-3")
    summary = run_seeds(
        RETRIEVAL, finished.config, tmp_path, 2, say=lambda _: None
    )
    found = [
        json.loads((tmp_path / f"seed-{seed}" / "metrics.json").read_text())
        for seed in (3, 4)
    ]
    assert found[0]["stages"] == finished.found["stages"]
    check_summary(summary, tmp_path, found)
