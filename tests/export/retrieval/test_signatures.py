"""Every signature of the exported folder, against NumPy on the towers."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.export.retrieval import RetrievalModule

TOP_K = 5


@pytest.fixture
def ask(served, loaded):
    """Calls a signature of the folder as it was loaded back."""

    def call(signature, **inputs):
        function = loaded.signatures[signature]
        takes = function.structured_input_signature[1]
        found = function(
            **{k: tf.constant(v, takes[k].dtype) for k, v in inputs.items()}
        )
        return {name: plain(value.numpy()) for name, value in found.items()}

    return call


def plain(array):
    if array.dtype != object:
        return array
    texts = [text.decode() for text in array.ravel()]
    return np.array(texts, object).reshape(array.shape)


def check(found, expected):
    """Compares `item_id` and `score` with rows of `Served.best`."""
    ids, scores = zip(*expected, strict=True)
    assert found["item_id"].tolist() == list(ids)
    np.testing.assert_allclose(found["score"], scores, rtol=1e-5, atol=1e-6)


def nothing(served, users):
    return np.full((users, 1), served.no_item, object)


def test_the_four_signatures_take_and_give_raw_ids(served, loaded):
    assert set(loaded.signatures) == {
        "serving_default",
        "recommend",
        "score",
        "embed_query",
    }
    kind = tf.string if served.no_item == "" else tf.int64
    recommend = loaded.signatures["recommend"]
    inputs = recommend.structured_input_signature[1]
    assert inputs["user_id"].dtype == inputs["exclude"].dtype == kind
    assert recommend.structured_outputs["item_id"].dtype == kind


@pytest.mark.parametrize("count", [1, 12])
def test_serving_default_gives_the_best_items(served, ask, count):
    users = served.users[:count]
    found = ask("serving_default", user_id=users)
    check(found, [served.best(user, TOP_K) for user in users])


@pytest.mark.parametrize("k", [1, 3, 17])
def test_recommend_takes_k_from_the_request(served, ask, k):
    found = ask(
        "recommend", user_id=served.users, k=k, exclude=nothing(served, 12)
    )
    check(found, [served.best(user, k) for user in served.users])


def test_more_than_all_items_end_in_minus_infinity_and_an_empty_id(served, ask):
    found = ask(
        "recommend", user_id=served.users, k=20, exclude=nothing(served, 12)
    )
    assert (found["item_id"][:, 17:] == served.no_item).all()
    assert np.isneginf(found["score"][:, 17:]).all()
    check(found, [served.best(user, 20) for user in served.users])


def test_excluded_items_are_left_out_and_padding_is_not_an_item(served, ask):
    first, second = served.users[:2]
    banned = served.best(first, 3)[0]
    empty, unknown = served.no_item, served.unknown_item
    rows = [[*banned, banned[0]], [unknown, empty, empty, empty]]
    found = ask("recommend", user_id=[first, second], k=4, exclude=rows)
    check(found, [served.best(first, 4, banned), served.best(second, 4)])


def test_fewer_left_than_k(served, ask):
    banned = served.items[2:]
    found = ask("recommend", user_id=served.users[:1], k=4, exclude=[banned])
    check(found, [served.best(served.users[0], 4, banned)])
    assert found["item_id"][0, 2:].tolist() == [served.no_item] * 2


def test_everything_excluded_leaves_nothing(served, ask):
    found = ask(
        "recommend", user_id=served.users[:1], k=2, exclude=[served.items]
    )
    assert found["item_id"].tolist() == [[served.no_item] * 2]
    assert np.isneginf(found["score"]).all()


def test_exclude_may_have_no_column(served, ask):
    found = ask(
        "recommend",
        user_id=served.users[:2],
        k=2,
        exclude=np.empty((2, 0), object),
    )
    check(found, [served.best(user, 2) for user in served.users[:2]])


def test_unknown_users_get_the_fallback(served, ask):
    users = [served.users[3], served.unknown_user]
    assert served.best(users[1], TOP_K) != served.best(users[0], TOP_K)
    check(
        ask("serving_default", user_id=users),
        [served.best(user, TOP_K) for user in users],
    )
    embedded = ask("embed_query", user_id=users)["embedding"]
    np.testing.assert_allclose(embedded[1], served.fallback, rtol=1e-6)


def test_score_is_the_dot_product_and_minus_infinity_if_unknown(served, ask):
    users = [*served.users[:2], served.unknown_user]
    items = [served.items[4], served.unknown_item, served.items[0]]
    found = ask("score", user_id=users, item_id=[items] * 3)["score"]
    expected = [
        [served.scores(user).get(item, -np.inf) for item in items]
        for user in users
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_embed_query_is_the_query_tower(served, ask):
    found = ask("embed_query", user_id=served.users)["embedding"]
    expected = np.stack(list(served.queries.values()))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_no_users_give_no_rows(served, ask):
    none = np.empty(0, object)
    assert ask("serving_default", user_id=none)["score"].shape == (0, TOP_K)
    found = ask("recommend", user_id=none, k=3, exclude=nothing(served, 0))
    assert found["item_id"].shape == found["score"].shape == (0, 3)
    found = ask("score", user_id=none, item_id=np.empty((0, 4), object))
    assert found["score"].shape == (0, 4)
    assert ask("embed_query", user_id=none)["embedding"].shape == (0, 8)


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(served, ask, k):
    with pytest.raises(tf.errors.InvalidArgumentError, match="`k` should be"):
        ask(
            "recommend",
            user_id=served.users[:1],
            k=k,
            exclude=nothing(served, 1),
        )


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_exclude_needs_a_row_for_every_user(served, ask, rows):
    with pytest.raises(tf.errors.InvalidArgumentError, match="`exclude` shou"):
        ask(
            "recommend",
            user_id=served.users[:2],
            k=1,
            exclude=nothing(served, rows),
        )


@pytest.mark.parametrize("kind", [int, str])
def test_ties_go_to_the_smaller_id(kind, catalogue_of):
    # Whole numbers, so that equal scores are equal bit by bit.
    catalogue = catalogue_of(kind, num_users=2, num_items=6)
    module = RetrievalModule(
        np.float32([[0, 0], [1, 0], [-1, 0]]),
        np.float32([[1, 0], [2, 0], [1, 0], [2, 0], [1, 0], [2, 0]]),
        catalogue,
    )
    padding = np.iinfo(np.int64).min if kind is int else ""
    users = tf.constant([*catalogue.user_ids.tolist(), padding])
    exclude = tf.constant([[padding]] * 3)
    found = module.recommend(users, tf.constant(5), exclude)
    expected = catalogue.item_ids[
        [[1, 3, 5, 0, 2], [0, 2, 4, 1, 3], [0, 1, 2, 3, 4]]
    ]
    assert plain(found["item_id"].numpy()).tolist() == expected.tolist()
    assert sorted(catalogue.item_ids.tolist()) == catalogue.item_ids.tolist()


def test_top_k_may_exceed_the_catalogue(catalogue_of):
    catalogue = catalogue_of(int, num_users=1, num_items=2)
    module = RetrievalModule(
        np.float32([[0], [1]]), np.float32([[1], [2]]), catalogue, top_k=4
    )
    found = module.signatures()["serving_default"](
        tf.constant(catalogue.user_ids)
    )
    assert found["score"].numpy().tolist() == [[2, 1, -np.inf, -np.inf]]
