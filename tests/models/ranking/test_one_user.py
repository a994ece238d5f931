"""One user's candidates: equal to the outputs of the full network."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.errors import UserError
from kd_tfrs.models import OneUserCatalogue, OneUserNetwork
from kd_tfrs.models.ranking import ARCHITECTURES, RankerConfig

USER = ("user_id", "age", "history")
COUNT = 9


def config(architecture, **more):
    return RankerConfig(
        architecture, embedding_dim=4, hidden_units=(6, 5), **more
    )


def request_of(rng, history=True):
    """One user `[1, ...]` and candidates `[n, ...]`."""
    user = {
        "user_id": np.int32([3]),
        "age": np.float32([0.7]),
        "history": np.int32([[2, 5, 0, 0]]),
    }
    if not history:
        del user["history"]
    return user, {
        "Item id": rng.integers(0, 7, COUNT).astype(np.int32),
        "genres": rng.integers(0, 6, (COUNT, 3)).astype(np.int32),
        "price": rng.normal(size=COUNT).astype(np.float32),
    }


def expected(network, user, items):
    """The network itself, given the user's row for every candidate."""
    repeated = {k: np.repeat(v, COUNT, axis=0) for k, v in user.items()}
    return network({**repeated, **items}, training=False)


def check(network, history=True, outputs=None, form=lambda x: x):
    user, items = request_of(np.random.default_rng(1), history)
    shared = [n for n in USER if n in user]
    fast = OneUserNetwork(network, shared, outputs)
    wanted = expected(network, user, items)
    rng = np.random.default_rng(2)
    _, catalogue = request_of(rng)
    rows = np.int32([4, 0, 4, 8])
    served = OneUserCatalogue(fast, catalogue)
    in_catalogue = expected(network, user, catalogue)
    found, looked_up = form(fast)(user, items), form(served)(user, rows)
    for name in fast.outputs:
        np.testing.assert_allclose(
            found[name], wanted[name], rtol=1e-4, atol=1e-4
        )
        np.testing.assert_allclose(
            looked_up[name],
            in_catalogue[name].numpy()[rows],
            rtol=1e-4,
            atol=1e-4,
        )
    return fast, served


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_equals_the_network(ranker, architecture):
    network = ranker(config(architecture)).network
    outputs = list(network.output)
    fast, _ = check(network, outputs=outputs)
    assert fast.outputs == tuple(outputs)


@pytest.mark.parametrize(
    "more",
    [
        {"experts": 2},
        {"tower_units": (3,)},
        {"activation": "dice", "l2": 0.1, "dropout": 0.5},
    ],
)
@pytest.mark.parametrize("architecture", ["dnn", "deepfm"])
def test_heads_and_activations(ranker, tasks, architecture, more):
    check(ranker(config(architecture, **more), tasks).network)


def test_inside_a_graph(ranker):
    check(ranker(config("dnn")).network, form=tf.function)


def test_without_history(ranker):
    check(ranker(config("dcn"), history=False).network, history=False)


def test_crosses_of_user_and_item(ranker):
    crosses = (("user_id", "Item id"),)
    check(ranker(config("wide_deep", crosses=crosses)).network)


def test_the_user_is_computed_for_one_row(ranker, monkeypatch):
    network, shapes = ranker(config("dnn")).network, []
    mean = network.get_layer("history_mean")
    call = mean.call
    monkeypatch.setattr(
        mean, "call", lambda x: shapes.append(x[0].shape[0]) or call(x)
    )
    user, items = request_of(np.random.default_rng(0))
    OneUserNetwork(network, USER)(user, items)
    assert shapes == [1]


def test_a_catalogue_keeps_one_product_of_the_first_layer(ranker):
    network = ranker(config("dnn")).network
    _, items = request_of(np.random.default_rng(0))
    tables = OneUserCatalogue(OneUserNetwork(network, USER), items).tables
    assert [tuple(t.shape) for t in tables] == [(COUNT, 6)]


@pytest.mark.parametrize(
    ("user", "outputs"),
    [
        (("missing",), None),
        (("user_id", "age", "history", "Item id", "genres", "price"), None),
        (USER, ["nothing"]),
        (USER, []),
    ],
)
def test_refuses_what_does_not_fit(ranker, user, outputs):
    with pytest.raises(UserError, match="`user_inputs` should be"):
        OneUserNetwork(ranker(config("dnn")).network, user, outputs)
