"""Columns as inputs of signatures."""

import pytest
import tensorflow as tf

from kd_tfrs.errors import UserError
from kd_tfrs.export.signature_functions import (
    concrete,
    input_key,
    input_keys,
    shared,
)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("age", "age"),
        ("Book Title", "Book_Title"),
        ("2nd", "arg_2nd"),
        ("_hidden", "arg__hidden"),
        ("prix é", "prix__"),
        ("a.b/c", "a_b_c"),
    ],
)
def test_tensorflow_leaves_keys_as_they_are(name, key):
    assert input_key(name) == key
    function = concrete(lambda x: x, {name: tf.TensorSpec([None])})
    assert list(function.structured_input_signature[1] or [key]) == [key]
    assert function.inputs[0].name == f"{key}:0"


def test_two_columns_of_one_key_are_refused():
    with pytest.raises(UserError, match="'a b' as the input 'a_b'"):
        input_keys(["a b", "a-b"])
    with pytest.raises(UserError, match="'k' as the input 'k'"):
        input_keys(["age", "k"], taken=["k"])


def test_a_shared_function_takes_columns_by_name():
    specs = {"one two": tf.TensorSpec([None]), "b": tf.TensorSpec([])}
    function = shared(lambda x: {"y": x["one two"] * x["b"]}, specs)
    sent = {"b": tf.constant(3.0), "one two": tf.constant([1.0, 2.0])}
    assert function(sent)["y"].numpy().tolist() == [3.0, 6.0]
