"""What a run exports: chosen on validation, or the form of --ship."""

import contextlib
import dataclasses
import shutil

import numpy as np
import pytest

from kd_tfrs.evaluation.retrieval import SavedModelScorer
from kd_tfrs.testing.retrieval import tiny_interactions
from kd_tfrs.workflow.compression_options import FORMS, Form, stored_as
from kd_tfrs.workflow.retrieval import measure
from kd_tfrs.workflow.retrieval.config import Config
from kd_tfrs.workflow.retrieval.experiment import run_experiment
from kd_tfrs.workflow.retrieval.prepare import prepare_interactions
from kd_tfrs.workflow.retrieval.stages import Stages
from kd_tfrs.workflow.run import Run
from kd_tfrs.workflow.training import Progress

# Validation metric and model bytes of each form.
ROWS = {
    "distilled": (0.200, 800),
    "int8": (0.199, 240),
    "pruned": (0.1985, 625),
    "pruned_int8": (0.190, 165),
}


@pytest.fixture(scope="module")
def unrelated():
    return prepare_interactions(tiny_interactions())


@pytest.fixture
def stages_with(tmp_path, unrelated):
    """Stages of a run whose forms are constructed rows."""
    runs = []

    def build(metric="ndcg@10", forms=ROWS, **options):
        config = Config.from_flat({"eval_monitor": metric, **options})
        runs.append(Run(tmp_path / f"run-{len(runs)}", config))
        for stage in forms:
            value, size = ROWS[stage]
            row = {
                "stage": stage,
                # The test events would choose otherwise: int8 is best there.
                "metrics": {metric: 1.0 if stage == "int8" else 0.1},
                "validation": {metric: value},
                "model_bytes": size,
            }
            runs[-1].write_json(f"stages/{stage}.json", row)
            # Users who do not differ leave no doubt about the mean.
            users = {f"validation/{metric}": np.full(3, value)}
            np.savez(runs[-1].path("stages", f"{stage}.npz"), **users)
        stages = Stages(runs[-1])
        # The size of the catalogue is all that is read of the data.
        stages.prepared = unrelated
        return stages

    yield build
    for run in runs:
        run.close()


@pytest.mark.parametrize(
    ("max_loss", "expected"),
    # Relative losses: 0.5 %, 0.75 % and 5 %.
    [(0.004, "distilled"), (0.01, "int8"), (0.051, "pruned_int8")],
)
def test_the_smallest_form_within_the_limit_is_chosen(
    stages_with, max_loss, expected
):
    choice = stages_with(max_loss=max_loss).choice
    assert choice.name == expected
    losses = {"distilled": 0, "int8": 0.005, "pruned": 0.0075}
    assert choice.losses == pytest.approx({**losses, "pruned_int8": 0.05})


def test_the_metric_is_the_one_that_picks_epochs(stages_with):
    choice = stages_with("recall@20").choice
    assert "validation recall@20" in choice.reason


def test_a_form_that_is_given_needs_no_other(stages_with):
    stages = stages_with(ship="int8", forms=("distilled", "int8"))
    assert stages.needs("saved_model") == ("distilled", "int8")
    choice = stages.choice
    assert (choice.name, set(choice.losses)) == ("int8", {"distilled", "int8"})
    automatic = stages_with()
    assert automatic.needs("saved_model") == tuple(FORMS)


def test_every_form_is_made_from_what_it_needs(stages_with):
    stages = stages_with()
    assert stages.needs("distilled") == ("teacher",)
    assert stages.needs("int8") == ("distilled",)
    assert stages.needs("pruned") == ("distilled",)
    assert stages.needs("pruned_int8") == ("pruned",)
    assert stages.needs("student") == stages.needs("teacher") == ()


def test_a_further_step_of_compression_is_one_more_element(
    finished, tmp_path, monkeypatch
):
    def train(learner, watch):
        return learner.load("distilled"), Progress()

    monkeypatch.setitem(FORMS, "other", Form("distilled", train))
    monkeypatch.setitem(FORMS, "other_int8", Form("other", int8=True))
    run = Run(finished.copy(tmp_path / "run"), finished.config)
    with contextlib.closing(run):
        stages = Stages(run)
        assert stages.names[-3:] == ("other", "other_int8", "saved_model")
        assert {"other", "other_int8"} <= {*stages.needs("saved_model")}
        found = stages.result("other_int8")
    expected = finished.row("int8")
    for name in ("metrics", "validation", "model_bytes"):
        assert found[name] == expected[name]


@pytest.fixture
def shipped_again(finished, tmp_path):
    """The finished run, whose export alone is made again by other options."""

    def ship(**options):
        directory = finished.copy(tmp_path / "run")
        (directory / "flags.json").unlink()
        shutil.rmtree(directory / "export")
        for file in (directory / "stages").glob("saved_model.*"):
            file.unlink()
        config = dataclasses.replace(
            finished.config,
            shipping=dataclasses.replace(finished.config.shipping, **options),
        )
        found = run_experiment(config, directory, say=lambda _: None)
        return found, config, directory

    return ship


@pytest.mark.parametrize("form", FORMS)
def test_the_form_that_is_given_ships(finished, shipped_again, form):
    found, config, directory = shipped_again(ship=form)

    row = found["stages"][-1]
    assert row["stage"] == "saved_model"
    assert row["choice"]["name"] == form
    assert "given by --ship" in row["choice"]["reason"]
    expected = finished.row(form)
    assert row["model_bytes"] == expected["model_bytes"]
    assert row["metrics"] == pytest.approx(expected["metrics"], abs=1e-6)
    # What answers is the table, rounded where the form rounds.
    made_from, storage = stored_as(form)
    with_run = Run(directory, config)
    chain = Stages(with_run)
    embedded = measure.embed(
        chain.model(made_from), chain.learner.encoded(made_from), chain.prepared
    ).stored(storage)
    users = chain.prepared.catalogue.user_ids[:20]
    _, scores = embedded.scorer(chain.prepared).recommend(users, 10)
    version = directory / "export" / "retrieval" / "1"
    _, served = SavedModelScorer(version).recommend(users, 10)
    np.testing.assert_allclose(served, scores, atol=1e-5)
    with_run.close()


def test_without_a_loss_nothing_that_loses_ships(finished, shipped_again):
    found, *_ = shipped_again(max_loss=0.0)

    choice = found["stages"][-1]["choice"]
    assert choice["max_loss"] == 0
    assert choice["losses"][choice["name"]] <= 0
    # The smallest of those that lose nothing for sure; the distilled student
    # is one.
    without_loss = [
        name
        for name, loss in choice["losses"].items()
        if name == "distilled" or loss + choice["margins"][name] <= 0
    ]
    sizes = {name: finished.row(name)["model_bytes"] for name in without_loss}
    assert sizes[choice["name"]] == min(sizes.values())
