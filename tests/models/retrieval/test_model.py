"""The retrieval loss against its formula, written out in NumPy float64."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.errors import UserError
from kd_tfrs.models import LazyAdam
from kd_tfrs.models.retrieval import RetrievalModel
from kd_tfrs.testing.retrieval import tiny_world

TAU = 0.4


@pytest.fixture(scope="module")
def world():
    return tiny_world(ids_only=True)


def model_of(world, **options):
    base = world.model(6)
    return RetrievalModel(
        base.query_tower, base.candidate_tower, temperature=TAU, **options
    )


def reference(model, batch, beta, remove_hits):
    """Yi et al. 2019, eq. 3 to 5, one event after the other."""
    outputs = model(batch)
    q = outputs["query"]["embedding"].numpy().astype(np.float64)
    c = outputs["candidate"]["embedding"].numpy().astype(np.float64)
    p = batch["candidate_probability"].numpy().astype(np.float64)
    rows = batch["candidate_row"].numpy()
    losses = []
    for i in range(len(batch["event_weight"])):
        logits = q[i] @ c[: len(p)].T / TAU - beta * np.log(p)
        others = rows[: len(p)] != rows[i]
        others[i] = True
        kept = logits[others] if remove_hits else logits
        losses.append(np.log(np.exp(kept).sum()) - logits[i])
    return np.array(losses)


@pytest.mark.parametrize("num_uniform_negatives", [0, 7])
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("remove_hits", [True, False])
def test_loss(world, num_uniform_negatives, beta, remove_hits):
    model = model_of(
        world, popularity_correction=beta, remove_accidental_hits=remove_hits
    )
    batch = world.batch(
        batch_size=24, num_uniform_negatives=num_uniform_negatives
    )
    rows = batch["candidate_row"].numpy()
    assert len(set(rows)) < len(rows), "there should be accidental hits"
    losses = reference(model, batch, beta, remove_hits)
    weights = batch["event_weight"].numpy()
    assert len(set(weights)) > 1
    np.testing.assert_allclose(
        model.compute_loss(batch),
        (losses * weights).sum() / weights.sum(),
        rtol=1e-5,
    )


def test_joined_candidates_are_not_in_the_softmax(world):
    model = model_of(world)
    batch = world.batch(batch_size=8, num_uniform_negatives=3)
    rows = {"query": 5, "candidate": 9}
    more = dict(batch)
    for side, count in rows.items():
        table = getattr(world, f"{side}_tables")
        at = tf.concat([batch[f"{side}_row"], tf.range(count)], 0)
        more[f"{side}_row"] = at
        more[side] = {k: tf.gather(v, at) for k, v in table.items()}
    np.testing.assert_allclose(
        model.compute_loss(more), model.compute_loss(batch), rtol=1e-6
    )


def test_the_loss_is_a_mean(world):
    model = model_of(world, remove_accidental_hits=False)
    batch = world.batch(batch_size=8)
    outputs = model(batch)
    value = float(model.task_loss(batch, outputs))
    scaled = {**batch, "event_weight": 10 * batch["event_weight"]}
    np.testing.assert_allclose(
        model.task_loss(scaled, outputs), value, rtol=1e-6
    )
    unweighted = {**batch, "event_weight": 0 * batch["event_weight"]}
    assert float(model.task_loss(unweighted, outputs)) == 0.0
    # Twice the events: every softmax has twice the candidates, log 2 more.
    twice = {
        key: tf.concat([values, values], 0)
        for key, values in batch.items()
        if not isinstance(values, dict)
    }
    doubled = {
        side: {"embedding": tf.tile(outputs[side]["embedding"], [2, 1])}
        for side in outputs
    }
    np.testing.assert_allclose(
        model.task_loss(twice, doubled), value + np.log(2), rtol=1e-5
    )


def test_an_event_without_weight_has_no_gradient(world):
    model = model_of(world)
    batch = world.batch(batch_size=8)
    weights = batch["event_weight"].numpy()
    weights[0] = 0
    batch["event_weight"] = tf.constant(weights)
    with tf.GradientTape() as tape:
        outputs = model(batch)
        query = outputs["query"]["embedding"]
        loss = model.task_loss(batch, outputs)
    gradient = tape.gradient(loss, query).numpy()
    assert not gradient[0].any()
    assert gradient[1:].any(axis=1).all()


def test_training_descends(world):
    model = model_of(world)
    model.compile(optimizer=LazyAdam(0.05))
    batches = world.batches(16)
    history = model.fit(
        batches.dataset(8),
        epochs=8,
        steps_per_epoch=batches.steps_per_epoch,
        verbose=0,
    ).history["loss"]
    assert history[-1] < history[0] - 0.5


def test_the_correction_makes_the_softmax_one_over_all_items(world):
    """With it, the best score is log p(item | user) + constant.

    Users have one taste; an item is chosen in proportion to its popularity.
    Without the correction every item comes out alike.
    """
    rng = np.random.default_rng(0)
    share = np.array([0.6, 0.3, 0.1])
    rows = rng.choice(3, 256, p=share)
    batch = {
        "event_weight": tf.ones([256]),
        "candidate_row": tf.constant(rows, tf.int32),
        "candidate_probability": tf.constant(share[rows] / 0.6, tf.float32),
    }
    for beta, ratio in ((1.0, np.log(6.0)), (0.0, 0.0)):
        model = model_of(
            world, popularity_correction=beta, remove_accidental_hits=False
        )
        learned = tf.Variable(tf.zeros([3]))

        @tf.function
        def slope(learned=learned, model=model):
            with tf.GradientTape() as tape:
                picked = tf.gather(learned, batch["candidate_row"])[:, None]
                outputs = {
                    "query": {"embedding": tf.ones([256, 1])},
                    "candidate": {"embedding": picked},
                }
                loss = model.task_loss(batch, outputs)
            return tf.convert_to_tensor(tape.gradient(loss, learned))

        for _ in range(120):
            learned.assign_sub(TAU * slope())
        assert abs(float(learned[0] - learned[2]) / TAU - ratio) < 0.3


def test_with_networks_keeps_the_settings(world):
    model = model_of(
        world, popularity_correction=0.3, remove_accidental_hits=False
    )
    other = world.model(2)
    twin = model.with_networks(other.query_tower, other.candidate_tower)
    assert twin is not model
    assert twin.query_tower is other.query_tower
    for name in ("temperature", "popularity_correction", "name"):
        assert getattr(twin, name) == getattr(model, name)
    assert twin.remove_accidental_hits is False
    assert model.query_tower is not other.query_tower


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"temperature": 0.0}, "`temperature` should be positive"),
        ({"popularity_correction": 1.5}, "`popularity_correction` should lie"),
        ({"popularity_correction": -0.1}, "`popularity_correction` should lie"),
    ],
)
def test_numbers_out_of_range(world, options, named):
    base = world.model()
    with pytest.raises(UserError, match=named):
        RetrievalModel(base.query_tower, base.candidate_tower, **options)
