"""A whole tiny ranking run, looked at from all sides."""

import contextlib
import dataclasses
import json
import shutil

import numpy as np
import pytest

from kd_tfrs.data.ranking import load_examples
from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.ranking import RankingEvaluation
from kd_tfrs.export.ranking.client import SavedModelRanker
from kd_tfrs.workflow import experiment
from kd_tfrs.workflow.cautions import Cautions
from kd_tfrs.workflow.compression_options import FORMS
from kd_tfrs.workflow.experiment import (
    run_seeds,
    summarise,
    summary_markdown,
)
from kd_tfrs.workflow.ranking import edge
from kd_tfrs.workflow.ranking.experiment import RANKING, run_experiment
from kd_tfrs.workflow.ranking.naming import stage_names
from kd_tfrs.workflow.ranking.report import RankingReport
from kd_tfrs.workflow.ranking.stages import RankingStages
from kd_tfrs.workflow.run import Run

TRAINED = ("teacher_dcn", "teacher_dnn", "student", "distilled", "pruned")
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def stages(finished, tmp_path_factory):
    """The chain of a copy of the run."""
    directory = finished.copy(tmp_path_factory.mktemp("copy") / "run")
    run = Run(directory, finished.config)
    yield RankingStages(run)
    run.close()


def test_every_stage_has_its_row(finished):
    found = finished.found
    assert [r["stage"] for r in found["baselines"]] == ["prior", "lightgbm"]
    assert [r["stage"] for r in found["stages"]] == [
        "teacher_dcn",
        "teacher_dnn",
        "teacher",
        "student",
        "distilled",
        "int8",
        "pruned",
        "pruned_int8",
        "saved_model",
        "litert",
    ]
    every = [r["stage"] for r in (*found["baselines"], *found["stages"])]
    assert tuple(every) == stage_names(finished.config)
    written = json.loads((finished.directory / "metrics.json").read_text())
    assert written == json.loads(json.dumps(found))
    assert written["flags"]["task"] == "ranking"
    assert written["tasks"] == {"liked": "binary"}


def test_rows_tell_quality_size_and_speed(finished):
    for row in finished.found["stages"]:
        assert {"auc", "gauc", "log_loss", "ece", "ndcg@10"} <= {
            *row["metrics"]
        }
        for name in ("parameters", "size_bytes", "size_bytes_gzip"):
            assert row[name] > 0
        low, high = row["intervals"]["auc"]
        assert low <= high
    assert finished.row("prior")["metrics"]["auc"] == 0.5


def test_rows_are_what_the_evaluation_says_of_the_logits(finished, stages):
    test = stages.prepared.split.test
    evaluation = RankingEvaluation(test.labels["liked"], test.groups)
    for stage in stages.names:
        wanted = evaluation.evaluate(stages.logits(stage)["liked"]).metrics
        metrics = finished.row(stage)["metrics"]
        for name in evaluation.names:
            assert metrics[name] == pytest.approx(wanted[name], abs=1e-9), name


def test_the_ensemble_is_the_mean_of_its_members(stages):
    members = [
        stages.logits(name)["liked"] for name in ("teacher_dcn", "teacher_dnn")
    ]
    np.testing.assert_allclose(
        stages.logits("teacher")["liked"], np.mean(members, axis=0), atol=1e-5
    )


def test_sizes_add_up(finished):
    rows = {name: finished.row(name) for name in TRAINED}
    teacher = finished.row("teacher")
    members = [rows[name] for name in ("teacher_dcn", "teacher_dnn")]
    for name in ("parameters", "train_seconds", "model_bytes"):
        assert teacher[name] == pytest.approx(sum(row[name] for row in members))
    # Float32, and nothing that does not train.
    assert teacher["model_bytes"] == 4 * teacher["parameters"]
    # Rows of four weights: 4 + 4 bytes for 16; narrow kernels stay float.
    assert 0.5 < teacher["model_bytes_int8"] / teacher["model_bytes"] < 0.8
    assert rows["student"]["parameters"] < teacher["parameters"] / 2
    pruned, dense = rows["pruned"], rows["distilled"]
    assert pruned["parameters"] == dense["parameters"]
    assert pruned["nonzero_parameters"] < 0.85 * dense["nonzero_parameters"]


def test_forms_take_fewer_bytes_one_after_the_other(finished):
    sizes = {name: finished.row(name)["model_bytes"] for name in FORMS}
    assert sizes["distilled"] == 4 * finished.row("distilled")["parameters"]
    assert sizes["pruned"] < sizes["distilled"]
    assert sizes["int8"] < sizes["distilled"]
    assert sizes["pruned_int8"] < min(sizes["pruned"], sizes["int8"])
    for name, size in sizes.items():
        row = finished.row(name)
        whole = finished.row("teacher")["model_bytes"]
        assert row["times_smaller"] == pytest.approx(whole / size)


def test_what_ships_is_the_smallest_form_within_the_limit(finished):
    choice = finished.row("saved_model")["choice"]
    limit = finished.config.shipping.max_loss
    values = {name: finished.row(name)["validation"]["auc"] for name in FORMS}
    whole = values["distilled"]
    for name, value in values.items():
        # Of what is above chance.
        lost = (whole - value) / abs(whole - 0.5)
        assert choice["losses"][name] == pytest.approx(lost)
    within = [n for n in FORMS if choice["losses"][n] <= limit]
    smallest = min(within, key=lambda n: finished.row(n)["model_bytes"])
    assert choice["name"] == smallest
    for export in ("saved_model", "litert"):
        assert finished.row(export)["choice"]["name"] == smallest
    row = finished.row("saved_model")
    assert row["model_bytes"] == finished.row(smallest)["model_bytes"]
    # LiteRT's converter stores weights in its own way.
    assert "model_bytes" not in finished.row("litert")
    assert choice["reason"] in (finished.directory / "stages.md").read_text()


def test_exports_score_as_the_form_that_ships(finished, stages):
    chosen = stages.logits(finished.row("saved_model")["choice"]["name"])[
        "liked"
    ]
    np.testing.assert_allclose(
        stages.logits("saved_model")["liked"], chosen, atol=1e-4
    )
    # Kernels have 8 bits in LiteRT with scales of their own.
    spread = np.ptp(chosen)
    found = stages.logits("litert")["liked"]
    assert np.abs(found - chosen).max() < 0.03 * spread
    assert (finished.directory / "export/litert/student.tflite").is_file()


@pytest.mark.parametrize("form", FORMS)
def test_a_form_that_is_given_ships_whatever_it_loses(
    finished, stages, form, monkeypatch
):
    shipping = dataclasses.replace(finished.config.shipping, ship=form)
    config = dataclasses.replace(finished.config, shipping=shipping)
    monkeypatch.setattr(stages, "config", config)
    monkeypatch.delitem(vars(stages), "stages", raising=False)
    assert stages.choice.name == form
    monkeypatch.delitem(vars(stages), "stages", raising=False)


def test_a_row_of_an_older_version_is_an_error(stages, monkeypatch):
    def older(stage):
        return {"stage": stage, "metrics": {"auc": 0.5}}

    monkeypatch.setattr(stages, "result", older)
    with pytest.raises(UserError, match="older version"):
        stages.choice  # noqa: B018


def test_pruning_goes_on_while_it_stays_within_the_limit(
    finished, tiny, tmp_path
):
    """A limit that nothing breaks, and one that everything does."""
    reached = {}
    for limit in (1.0, 0.0):
        config = tiny(max_loss=limit, pruning_sparsities=[0.3, 0.6])
        directory = tmp_path / str(limit)
        # What was done before pruning stays.
        shutil.copytree(finished.directory, directory)
        for path in (directory / "stages").glob("*"):
            if "pruned" in path.name or "saved" in path.name:
                path.unlink()
        (directory / "flags.json").write_text(json.dumps(config.flat()))
        with contextlib.closing(Run(directory, config)) as run:
            learner = RankingStages(run).learner
            if not limit:
                learner.validation = worse_each_time(learner.validation)
            model, progress = learner.train("pruned")
        weights = model.network.get_layer("hidden_0").get_weights()[0]
        reached[limit] = (
            1 - np.count_nonzero(weights) / weights.size,
            progress.epoch,
        )
    # Two levels of an epoch each; one level, which was too much already.
    assert reached[1.0] == (pytest.approx(0.6, abs=0.1), 2)
    assert reached[0.0] == (pytest.approx(0.3, abs=0.1), 1)


def worse_each_time(measure_one):
    """Validation in which whatever is pruned is worse."""

    def found(stage, model):
        metrics = measure_one(stage, model)
        return {**metrics, "auc": 0.9 if stage == "distilled" else 0.1}

    return found


def test_activations_of_eight_bits_cost_more(stages, tmp_path):
    names = stages.learner.inputs("pruned").names
    runner = edge.write_int8(
        stages.learner.load("pruned"),
        stages.prepared,
        names,
        tmp_path / "student.tflite",
        activations=True,
    )
    found = edge.litert_logits(runner, stages.prepared, names)["liked"]
    pruned = stages.logits("pruned")["liked"]
    assert np.abs(found - pruned).max() < 0.2 * np.ptp(pruned)


def test_the_export_ranks_by_ids_alone(finished, stages):
    ranker = SavedModelRanker(finished.directory / "export" / "ranking")
    items = np.arange(60)
    ids, scores = ranker.rank("u1", items, k=60)
    assert sorted(ids) == items.tolist()
    assert (np.diff(scores) <= 0).all()
    unknown, least = ranker.rank("u1", [7, 1000], k=2)
    assert unknown[0] == 7
    assert least[1] == -np.inf


def test_held_out_events_are_not_looked_up(finished, stages):
    """The table's counts are those of training events."""
    from kd_tfrs.workflow.ranking.exporting import serving_tables

    tables = serving_tables(stages.prepared)
    train = stages.prepared.split.train
    assert tables.items["item_events"].sum() == len(train)
    assert tables.users["user_events"].sum() == len(train)


def test_the_report_and_the_plots_are_there(finished):
    text = (finished.directory / "stages.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    named = [line.split("|")[1].strip() for line in lines[2:]]
    assert named == list(stage_names(finished.config))
    assert "p99 ms" in lines[0]
    assert "distilled against student" in text
    for name in ("stages", "curves", "roc", "calibration", "scores"):
        path = finished.directory / f"{name}.png"
        assert path.read_bytes().startswith(PNG)
    assert any("saved_model" in line for line in finished.said)


def test_distilled_is_tested_against_the_student_alone(finished):
    tests = finished.found["significance"]
    assert set(tests) == {"auc", "gauc", "log_loss"}
    for name, test in tests.items():
        alone = finished.row("student")["metrics"][name]
        distilled = finished.row("distilled")["metrics"][name]
        assert f"{alone:.4f} -> {distilled:.4f}" in test["text"]
    pairs = {
        (c["baseline"], c["challenger"]) for c in finished.found["comparisons"]
    }
    assert ("lightgbm", "teacher") in pairs


def test_the_last_line_is_what_ships(finished):
    text, row = finished.found["sentence"], finished.row("saved_model")
    assert finished.said[-1].strip() == text
    assert text.startswith(f"The shipped file ({row['choice']['name']}) keeps ")
    share = row["metrics"]["auc"] / finished.row("teacher")["metrics"]["auc"]
    assert row["kept"]["quality"] == pytest.approx(share)
    test = next(
        one
        for one in finished.found["comparisons"]
        if (one["baseline"], one["challenger"], one["metric"])
        == ("student", "teacher", "auc")
    )
    if test["p_value"] >= 0.05 or test["difference"] <= 0:
        assert row["kept"]["lead"] is None
        assert "no significant lead" in text


def test_stages_are_timed_in_turns(finished):
    for stage in ("teacher", "student", "distilled", "saved_model"):
        row = finished.row(stage)
        assert 0 < row["latency_ms"]["p50"] <= row["latency_ms"]["p99"]
        if stage == "teacher":
            assert row["times_faster"] is None
        else:
            ratio = row["times_faster"]
            assert ratio["low"] <= ratio["ratio"] <= ratio["high"]
    # What has the same architecture as another is not timed twice.
    assert "latency_ms" not in finished.row("pruned_int8")
    assert finished.row("litert")["latency_ms"]["p50"] > 0


def test_a_teacher_behind_is_told_before_and_after(finished, stages):
    """LightGBM made better than any network."""
    rows = json.loads(json.dumps(finished.found["stages"]))
    rows += json.loads(json.dumps(finished.found["baselines"]))
    said = []
    named = {row["stage"]: row for row in rows}
    named["student"]["validation"] = {"auc": 0.1, "log_loss": 9.0}
    named["lightgbm"]["validation"] = {"auc": 1.0, "log_loss": 0.01}
    RankingReport(stages).early_cautions(Cautions(said.append), rows)
    assert len(said) == 1
    assert said[0].startswith("warning: the teacher (auc ")
    assert "is behind LightGBM (1.000, 0.010) on validation events" in said[0]
    named["lightgbm"]["validation"] = {"auc": 0.1, "log_loss": 9.0}
    RankingReport(stages).early_cautions(Cautions(said.append), rows)
    assert len(said) == 1
    for line in finished.found["warnings"]:
        assert f"warning: {line}" in finished.said
        assert line in (finished.directory / "stages.md").read_text()


def test_history_has_every_epoch(finished):
    for stage in TRAINED:
        path = finished.directory / "stages" / f"{stage}.history.json"
        history = json.loads(path.read_text())
        # An epoch for each sparsity that was tried.
        epochs = len(history) if stage == "pruned" else 2
        assert [row["epoch"] for row in history] == list(range(1, epochs + 1))
        names = {"loss", "auc", "log_loss"}
        if stage in ("distilled", "pruned"):
            names |= {"student_loss", "binary_soft_targets"}
            names |= {"distillation_loss"}
        for row in history:
            assert names <= set(row)


def test_the_same_command_again_does_nothing_twice(finished, tmp_path):
    directory = finished.copy(tmp_path / "again")
    before = (directory / "weights" / "student.npz").stat().st_mtime_ns
    found = run_experiment(finished.config, directory, say=lambda _: None)
    assert found == finished.found
    assert (directory / "weights/student.npz").stat().st_mtime_ns == before
    versions = [v.name for v in (directory / "export" / "ranking").iterdir()]
    assert versions == ["1"]


def test_other_flags_and_other_tasks_are_refused(finished, tmp_path):
    directory = finished.copy(tmp_path / "other")
    changed = dataclasses.replace(finished.config, seed=9)
    with pytest.raises(UserError, match="--seed was 3, now 9"):
        Run(directory, changed)
    from kd_tfrs.workflow.retrieval.config import Config

    with pytest.raises(UserError, match="--task was 'ranking'") as caught:
        Run(directory, Config())
    assert "dataset" not in str(caught.value)


def test_other_data_under_the_same_flags_is_refused(finished, tmp_path):
    directory = finished.copy(tmp_path / "data")
    (directory / "data.json").write_text('{"fingerprint": "' + "0" * 64 + '"}')
    with pytest.raises(UserError, match="data has changed"):
        run_experiment(finished.config, directory, say=lambda _: None)


def test_nothing_held_out_reaches_training(finished, stages):
    prepared = stages.prepared
    features = {f.name: f for f in prepared.features}
    train = prepared.split.train
    # Unknown first, then what training examples name.
    size = features["item_id"].vocabulary_size
    assert size == len(np.unique(train.items)) + 1
    parts = load_examples(
        finished.config.data.dataset, tasks=["liked"], history_length=2
    )
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(
            getattr(parts, part).items, getattr(prepared.split, part).items
        )


def test_seeds_are_summarised(finished, tmp_path, monkeypatch):
    kept = []

    def shifted(task, config, directory, **_):
        found = json.loads(json.dumps(finished.found))
        found["seed"] = config.seed
        for place, row in enumerate(found["stages"]):
            row["metrics"]["auc"] += 0.01 * place * config.seed
        kept.append(found)
        return found

    monkeypatch.setattr(experiment, "run_experiment", shifted)
    summary = run_seeds(
        RANKING, finished.config, tmp_path, 2, say=lambda _: None
    )
    values = [
        row["metrics"]["auc"]
        for found in kept
        for row in found["stages"]
        if row["stage"] == "distilled"
    ]
    assert summary["stages"]["distilled"]["auc"]["mean"] == pytest.approx(
        np.mean(values)
    )
    assert set(summary["significance"]) == {"auc", "gauc", "log_loss"}
    text = (tmp_path / "summary" / "summary.md").read_text()
    assert "| stage | auc | gauc | log_loss |" in text
    undefined = summarise(kept, ["auc"])
    undefined["stages"]["prior"]["gauc"] = {"mean": None, "deviation": None}
    assert "| - |" in summary_markdown(undefined, ["gauc"])


def test_stages_without_their_package_are_left_out(stages, monkeypatch):
    monkeypatch.setattr(
        experiment.importlib.util, "find_spec", lambda name: None
    )
    said = []
    chosen = experiment.available_stages(stages, said.append)
    assert not {"lightgbm", "litert"} & {*chosen}
    assert "kd_tfrs[baselines]" in said[0]
    assert "kd_tfrs[edge]" in said[1]


def test_the_litert_file_is_of_builtin_operations(finished):
    path = finished.directory / "export" / "litert" / "student.tflite"
    content = path.read_bytes()
    assert content[4:8] == b"TFL3"
    assert b"Flex" not in content


@pytest.mark.slow
def test_ratings_first_a_live_teacher_and_a_head_of_its_own(tiny, tmp_path):
    """The other branches: one network, no history, a random split."""
    config = tiny(
        tasks=["rating", "liked"],
        split="random",
        history_length=0,
        teacher_networks=["dnn"],
        teacher_cross_layers=None,
        teacher_features="ids",
        distillation_losses=["auxiliary_head:0.5", "cross_task:0.1"],
        distillation_knowledge="live",
        distilled_negative_rate=1.0,
        eval_baselines=False,
    )
    found = run_experiment(
        config, tmp_path / "run", stages=("litert",), say=lambda _: None
    )
    rows = {row["stage"]: row for row in found["stages"]}
    assert list(rows) == [
        "teacher_dnn",
        "teacher",
        "distilled",
        "int8",
        "pruned",
        "pruned_int8",
        "litert",
    ]
    assert rows["teacher"]["metrics"] == rows["teacher_dnn"]["metrics"]
    for row in rows.values():
        assert {"rmse", "mae", "liked/auc"} <= {*row["metrics"]}
    # The teacher's head is neither counted nor exported.
    assert rows["pruned"]["parameters"] == rows["distilled"]["parameters"]
    assert not (tmp_path / "run" / "knowledge" / "train").exists()
    assert not (tmp_path / "run" / "roc.png").exists()
    assert (tmp_path / "run" / "roc-liked.png").exists()
