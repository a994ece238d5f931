"""Training that is stopped, sampled, gated; heads that are not served."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.ranking import RankingEvaluation
from kd_tfrs.workflow.ranking import measure
from kd_tfrs.workflow.ranking.builders import ranker_config, shift_head
from kd_tfrs.workflow.ranking.chosen_methods import ChosenMethods
from kd_tfrs.workflow.ranking.learner import RankingLearner
from kd_tfrs.workflow.ranking.options import (
    RankerOptions,
    RankingDistillationOptions,
)
from kd_tfrs.workflow.ranking.prepare import prepare
from kd_tfrs.workflow.run import Run
from kd_tfrs.workflow.training import get_weights


@pytest.fixture(scope="module")
def prepared(finished):
    config = finished.config
    return prepare(config.data, config.evaluation, config.seed)


@pytest.fixture
def learner_of(finished, prepared, tmp_path, tiny):
    """A learner in a folder of its own that has the run's members."""
    runs = []

    def make(**changes):
        directory = tmp_path / f"run{len(runs)}"
        runs.append(Run(directory, tiny(**changes)))
        for stage in ("teacher_dcn", "teacher_dnn"):
            kept = finished.directory / "weights" / f"{stage}.npz"
            path = runs[-1].path("weights", f"{stage}.npz")
            path.write_bytes(kept.read_bytes())
        return RankingLearner(runs[-1], prepared)

    yield make
    for run in runs:
        run.close()


class KilledError(Exception):
    """Stands for a kill."""


def kill_in(epoch):
    seen = []

    def watch(metrics):
        seen.append(metrics)
        if len(seen) == epoch:
            raise KilledError

    return watch


def test_a_stopped_distillation_goes_on_to_the_same_weights(
    finished, learner_of
):
    learner = learner_of()
    with pytest.raises(KilledError):
        learner.train("distilled", kill_in(epoch=2))
    # What a new process has: the folder alone.
    again = RankingLearner(learner.run, learner.prepared)
    model, progress = again.train("distilled")
    assert progress.epoch == 2
    with np.load(finished.directory / "weights" / "distilled.npz") as kept:
        for name, weight in zip(kept.files, get_weights(model), strict=True):
            np.testing.assert_array_equal(weight, kept[name])


def test_sampling_half_of_the_negatives_is_undone(learner_of):
    """The served logit is the trained one plus log(1/2)."""
    learner = learner_of(student_negative_rate=0.5, student_epochs=1)
    trained = {}
    finished_model = learner.finished

    def look(model, batches):
        trained["offset"] = batches.logit_offset
        trained["logits"] = scores(learner, model)
        return finished_model(model, batches)

    learner.finished = look
    model, _ = learner.train("student")
    assert trained["offset"] == pytest.approx(np.log(0.5), abs=0.01)
    np.testing.assert_allclose(
        scores(learner, model), trained["logits"] + trained["offset"], atol=1e-5
    )


def scores(learner, model, part="validation"):
    rows = learner.prepared.rows(part, learner.inputs("student").names)
    return measure.Scoring(model, model.tasks)(rows)["liked"]


def test_methods_between_networks_sessions_and_heads_train_together(
    learner_of,
):
    learner = learner_of(
        distillation_losses=[
            "binary_soft_targets:0.5",
            "hint:0.1",
            "session_list:0.01",
            "auxiliary_head:0.2",
        ],
        distillation_session_gap=86400.0,
        distillation_ensemble="gated",
        distillation_stop_on="teacher",
        distilled_epochs=1,
    )
    model, progress = learner.train("distilled")
    names = {"binary_soft_targets", "hint", "distillation_loss"}
    assert names <= set(progress.history[0])
    # The teacher's own head is not served, and the best is the nearest.
    assert not [n for n in model.network.output if n.endswith("_teacher")]
    nearest = min(row["distillation_loss"] for row in progress.history)
    assert progress.best == pytest.approx(-nearest)
    learner.save("distilled", model)
    again = RankingLearner(learner.run, learner.prepared)
    np.testing.assert_array_equal(
        scores(again, again.load("distilled")), scores(learner, model)
    )
    assert learner.run.load_weights("gate") is not None
    gates = [
        w
        for x in again.teacher_factory.live.checkpointed
        for w in x.get_weights()
    ]
    for one, other in zip(gates, learner.run.load_weights("gate"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_cache_says_what_the_teacher_says(learner_of):
    learner = learner_of()
    teacher_factory = learner.teacher_factory
    outputs = teacher_factory.outputs(["teacher_0_hidden_0"])
    assert outputs == ("logits_liked", "teacher_0_hidden_0")
    cached = teacher_factory.cached("train", outputs)
    rows = learner.prepared.rows("train", teacher_factory.names)
    batch = next(iter(rows.in_order(64)))
    live, kept = teacher_factory.live.outputs(batch), cached.outputs(batch)
    for name in outputs:
        np.testing.assert_allclose(live[name], kept[name], atol=1e-6)
    # More outputs than the folder has: the teacher is asked again.
    more = teacher_factory.cached(
        "train", ("logits_liked", "teacher_1_hidden_0")
    )
    assert "teacher_1_hidden_0" in more.widths


def test_the_student_does_not_see_what_only_teachers_see(tiny):
    config = tiny(
        dataset="synthetic", num_events=400, tasks=[], history_length=0
    )
    data = prepare(config.data, config.evaluation, 0)
    teacher = data.inputs(config.teacher_rankers, served=False)
    student = data.inputs(RankerOptions(), served=True)
    assert set(teacher.names) - set(student.names) == {"position"}
    assert [task.name for task in data.tasks] == ["click", "like"]


def test_shifting_a_head_shifts_its_logits_alone(learner_of):
    learner = learner_of()
    model = learner.build("student", steps_per_epoch=1)
    before = scores(learner, model)
    shift_head(model, learner.prepared.task, 0.75)
    np.testing.assert_allclose(scores(learner, model), before + 0.75, atol=1e-6)


def test_a_stage_asks_for_what_it_needs(learner_of):
    with pytest.raises(UserError, match="pruned should be done first"):
        learner_of().load("pruned")


def test_a_monitor_has_to_be_measured(learner_of):
    with pytest.raises(UserError, match=r"--eval_monitor.*rmse"):
        learner_of(eval_monitor="rmse")
    assert learner_of(eval_monitor="log_loss").monitor == "log_loss"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"losses": ("kl",)}, "--distillation_losses.*kl"),
        ({"losses": ("cross_task",)}, "cross_task.*liked"),
        ({"session_gap": 60.0}, "--distillation_session_gap.*60"),
    ],
)
def test_methods_are_checked_before_anybody_trains(prepared, changes, words):
    with pytest.raises(UserError, match=words):
        ChosenMethods(RankingDistillationOptions(**changes), prepared)


def test_options_of_another_architecture_are_left_out():
    options = RankerOptions(cross_layers=3, heads=4)
    assert ranker_config(options, "dcn", 0.0).cross_layers == 3
    assert ranker_config(options, "dcn", 0.0).heads is None
    assert ranker_config(options, "dnn", 0.1).cross_layers is None


def test_distance_to_the_teacher_is_a_cross_entropy(prepared):
    """H(p, q) for p = sigmoid(t), q = sigmoid(z), by the definition."""
    z, t = np.array([-2.0, 0.0, 900.0]), np.array([1.0, 3.0, 900.0])
    p, q = (1 / (1 + np.exp(-np.clip(x, -50, 50))) for x in (t, z))
    wanted = -(p * np.log(q) + (1 - p) * np.log1p(-np.minimum(q, 1 - 1e-16)))
    count = len(prepared.validation_rows)
    fill = np.resize(z, count), np.resize(t, count)
    found = measure.validate({"liked": fill[0]}, prepared, {"liked": fill[1]})[
        "distillation_loss"
    ]
    wanted = np.resize(np.where(z > 100, 0.0, wanted), count).mean()
    assert found == pytest.approx(wanted, abs=1e-9)


def test_requests_are_of_one_user_and_many_items(finished, prepared, tiny):
    names = prepared.inputs(tiny().teacher_rankers, served=False).names
    sent = measure.request(prepared, names, 30)
    assert {len(values) for values in sent.values()} == {30}
    for name in ("user_id", "user_events", "history", "hour"):
        assert len(np.unique(sent[name], axis=0)) == 1, name
    assert len(np.unique(sent["item_id"])) > 5


def test_rows_without_a_label_do_not_count(prepared):
    """NaN is no label: its row has the weight 0."""
    from kd_tfrs.workflow.ranking.protocols import _evaluation

    validation = prepared.split.validation
    labels = validation.labels["liked"].copy()
    labels[::2] = np.nan
    part = validation.take(slice(None))
    part.labels["liked"] = labels
    logits = np.linspace(-1, 1, len(labels))
    found = _evaluation(part, prepared.task).evaluate(logits).metrics
    wanted = RankingEvaluation(labels[1::2], validation.groups[1::2]).evaluate(
        logits[1::2]
    )
    assert found["auc"] == pytest.approx(wanted.metrics["auc"])
    assert found["gauc"] == pytest.approx(wanted.metrics["gauc"])


def test_the_teacher_speaks_of_rows_without_a_label(learner_of, prepared):
    """Half as many as there are training rows, after them, by row."""
    learner = learner_of(
        distilled_negative_rate=1.0,
        distillation_unlabelled=0.5,
        distilled_epochs=1,
    )
    labelled = len(prepared.split.train)
    batches = learner.batches("distilled", 0)
    assert batches.num_rows == labelled + round(labelled / 2)
    assert learner.batches("student", 0).num_rows == labelled
    kept = learner.teacher_factory.of_training(
        learner.teacher_factory.outputs()
    )
    wide = learner.distilled_data.batches(
        learner.teacher_factory.names, learner.config.distilled, seed=0
    )
    for batch in wide.in_order(512).take(3):
        live = learner.teacher_factory.live.outputs(batch)["logits_liked"]
        np.testing.assert_allclose(
            kept.outputs(batch)["logits_liked"], live, atol=1e-5
        )
    rows = next(iter(batches.in_order(batches.num_rows)))
    missing = np.isnan(rows["labels"]["liked"].numpy())
    np.testing.assert_array_equal(
        missing, np.arange(batches.num_rows) >= labelled
    )
    model, progress = learner.train("distilled")
    assert np.isfinite(progress.history[0]["student_loss"])
    assert np.isfinite(scores(learner, model)).all()


def test_gradients_of_a_ranker_are_balanced(learner_of):
    learner = learner_of(distillation_balance=True, distilled_epochs=1)
    model, progress = learner.train("distilled")
    _, other = learner_of(distilled_epochs=1).train("distilled")
    assert np.isfinite(scores(learner, model)).all()
    # The labels are read, and the weights of the two trainings differ.
    assert "student_loss" in progress.history[0]
    assert progress.history != other.history
    # The averages of the norms are in the checkpoint.
    path = learner.run.path("training", "distilled", "checkpoints")
    names = [
        name
        for name, _ in tf.train.list_variables(str(path))
        if "checkpointed" in name
    ]
    assert any("_norms" in name for name in names)


def test_a_chain_of_assistants_ends_at_the_student(learner_of):
    """Teacher, width 6, width 3, and a student of width 2."""
    changes = {"distillation_chain": [6, 3], "distilled_epochs": 1}
    learner = learner_of(**changes)
    assert learner.assistants == ("assistant_0", "assistant_1")
    assert learner.taught_by("assistant_0") == "teacher"
    assert learner.taught_by("assistant_1") == "assistant_0"
    assert learner.taught_by("distilled") == "assistant_1"
    model, _ = learner.train("distilled")

    # Hidden layers of 4 units beside an embedding of 2 grow likewise.
    for stage, units in (("assistant_0", 12), ("assistant_1", 6)):
        network = learner.load(stage).network
        assert network.get_layer("hidden_0").units == units
    assert model.network.get_layer("hidden_0").units == 4
    # The student is taught by what the last assistant says.
    said = learner._teacher_factory("assistant_1").cached(
        "validation", ("logits_liked",)
    )
    np.testing.assert_allclose(
        said.arrays["logits_liked"],
        scores(learner, learner.load("assistant_1")),
        atol=1e-5,
    )

    # A new process reads the assistants and comes to the same weights.
    again = learner_of(**changes)
    for stage in learner.assistants:
        again.save(stage, learner.load(stage))
    for one, other in zip(
        *map(get_weights, (model, again.train("distilled")[0])), strict=True
    ):
        np.testing.assert_array_equal(one, other)
