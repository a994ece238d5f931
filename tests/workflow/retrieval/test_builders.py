"""Models out of options."""

import pytest

import kd_tfrs as kd
from kd_tfrs.workflow.retrieval.builders import build_model
from kd_tfrs.workflow.retrieval.config import TowerOptions, TrainOptions
from kd_tfrs.workflow.retrieval.prepare import prepare_interactions


@pytest.fixture(scope="module")
def encoded():
    events = kd.load("synthetic", num_events=1_000)
    return prepare_interactions(events).encode()


def test_a_constant_step_size_needs_no_number_of_steps(encoded):
    options = TrainOptions(decay="constant", learning_rate=0.25)
    model = build_model(encoded, TowerOptions(embedding_dim=3), options)
    assert model.query_tower.output["embedding"].shape[-1] == 3
    assert float(model.optimizer.learning_rate) == 0.25

    model = build_model(encoded, TowerOptions(embedding_dim=3))
    default = TrainOptions().learning_rate
    assert float(model.optimizer.learning_rate) == pytest.approx(default)


def test_a_step_size_that_decays_needs_one(encoded):
    options = TrainOptions(decay="cosine", learning_rate=0.5, epochs=3)
    with pytest.raises(kd.UserError, match="`steps_per_epoch` should be given"):
        build_model(encoded, TowerOptions(), options)

    model = build_model(encoded, TowerOptions(), options, 10)
    # Half of the way of a cosine is half of the step size.
    assert float(model.optimizer.learning_rate(15)) == pytest.approx(0.25)
