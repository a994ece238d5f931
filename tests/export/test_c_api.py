"""TensorFlow's C library says what Python TensorFlow says."""

import gc
import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from kd_tfrs.errors import UserError
from kd_tfrs.export import CSavedModel, c_api

# Only files that do not import TensorFlow: kd_tfrs.export as a package would.
_ALONE = """
import importlib, json, sys, types
import numpy as np
export = types.ModuleType("kd_tfrs.export")
import kd_tfrs
export.__path__ = [kd_tfrs.__path__[0] + "/export"]
sys.modules["kd_tfrs.export"] = export
from kd_tfrs.export.c_api import CSavedModel
request = json.load(sys.stdin)
inputs = {name: np.array(value) for name, value in request.items()}
found = CSavedModel(sys.argv[1]).run("recommend", inputs)
assert "tensorflow" not in sys.modules
ids = [[getattr(i, "decode", lambda: i)() for i in row]
       for row in found["item_id"].tolist()]
json.dump({"item_id": ids, "score": found["score"].tolist()}, sys.stdout)
"""


@pytest.fixture(scope="module")
def c_models(served_by_kind):
    return {kind: CSavedModel(s.path) for kind, s in served_by_kind.items()}


@pytest.fixture
def c_model(served, c_models):
    return c_models[int if served.no_item else str]


def requests(served):
    users = np.array([*served.users, served.unknown_user])
    banned = [served.items[:2], [served.no_item, served.unknown_item]]
    exclude = np.array([banned[i % 2] for i in range(len(users))])
    items = np.array([[served.items[3], served.unknown_item]] * len(users))
    none = users[:0]
    return [
        ("serving_default", {"user_id": users}),
        ("serving_default", {"user_id": none}),
        ("recommend", {"user_id": users, "k": 7, "exclude": exclude}),
        ("recommend", {"user_id": users, "k": 20, "exclude": exclude}),
        ("recommend", {"user_id": none, "k": 2, "exclude": exclude[:0]}),
        ("recommend", {"user_id": users, "k": 2, "exclude": exclude[:, :0]}),
        ("recommend", {"user_id": users, "k": 2, "exclude": [[]] * 13}),
        ("score", {"user_id": users, "item_id": items}),
        ("embed_query", {"user_id": users}),
    ]


def by_python(loaded, signature, inputs):
    function = loaded.signatures[signature]
    takes = function.structured_input_signature[1]
    tensors = {k: tf.constant(v, takes[k].dtype) for k, v in inputs.items()}
    return {name: v.numpy() for name, v in function(**tensors).items()}


def test_every_signature_equals_python(served, loaded, c_model):
    for signature, inputs in requests(served):
        expected = by_python(loaded, signature, inputs)
        found = c_model.run(signature, inputs)
        assert set(found) == set(expected)
        for name, values in expected.items():
            assert found[name].dtype == values.dtype
            assert found[name].shape == values.shape
            if name == "item_id":
                assert found[name].tolist() == values.tolist()
            else:
                np.testing.assert_allclose(found[name], values, rtol=1e-5)


def test_a_prepared_call_answers_each_time(served, c_model):
    for signature, inputs in requests(served):
        expected = c_model.run(signature, inputs)
        prepared = c_model.prepare(signature, inputs)
        for _ in range(2):
            assert prepared() is None
            found = prepared.run()
            assert set(found) == set(expected)
            for name, values in expected.items():
                np.testing.assert_array_equal(found[name], values)


def test_a_prepared_call_keeps_its_model(served):
    request = {"user_id": np.array(served.users)}
    # Nothing else refers to the model.
    prepared = CSavedModel(served.path).prepare("embed_query", request)
    gc.collect()
    expected = [served.queries[user] for user in served.users]
    np.testing.assert_allclose(
        prepared.run()["embedding"], expected, rtol=1e-5, atol=1e-7
    )


def test_every_tensor_is_freed_once(served, c_model, monkeypatch):
    """Inputs with the prepared call, outputs with each time it is called."""
    made, freed = [], []
    to_tensor, delete_tensor = c_api._to_tensor, c_api._delete_tensor

    def make(*arguments):
        made.append(to_tensor(*arguments))
        return made[-1]

    def free(tensor, own):
        freed.append((tensor.value, own))
        delete_tensor(tensor, own=own)

    monkeypatch.setattr(c_api, "_to_tensor", make)
    monkeypatch.setattr(c_api, "_delete_tensor", free)
    users = np.array(served.users)
    prepared = c_model.prepare("serving_default", {"user_id": users})
    for _ in range(3):
        prepared()
    prepared.run()
    # Two outputs, four times; the input lives as long as the call.
    assert [own for _, own in freed] == [False] * 8
    del prepared
    gc.collect()
    assert freed[8:] == [(tensor.value, True) for tensor in made]


def test_inputs_of_a_refused_request_are_freed(served, c_model, monkeypatch):
    made, freed = [], []
    to_tensor, delete_tensor = c_api._to_tensor, c_api._delete_tensor

    def make(*arguments):
        if made:
            raise UserError("The second input is refused.")
        made.append(to_tensor(*arguments))
        return made[-1]

    def free(tensor, own):
        freed.append(tensor.value)
        delete_tensor(tensor, own=own)

    monkeypatch.setattr(c_api, "_to_tensor", make)
    monkeypatch.setattr(c_api, "_delete_tensor", free)
    users, items = np.array(served.users[:1]), np.array([served.items[:1]])
    with pytest.raises(UserError, match="The second input is refused"):
        c_model.prepare("score", {"user_id": users, "item_id": items})
    gc.collect()
    assert sorted(freed, key=bool) == [None, made[0].value]


@pytest.mark.parametrize("threads", [1, 3, 127, 128, 300])
def test_threads_are_written_as_protobuf_writes_them(threads):
    expected = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=threads,
        inter_op_parallelism_threads=threads,
    )
    assert c_api._config(threads) == expected.SerializeToString()


def test_one_thread_answers_the_same(served, c_model, monkeypatch):
    configs = []

    call = c_api._call

    def keep(function, *arguments):
        if function == "TF_SetConfig":
            configs.append(arguments[1])
        return call(function, *arguments)

    monkeypatch.setattr(c_api, "_call", keep)
    one = CSavedModel(served.path, threads=1)
    CSavedModel(served.path)
    # Fields 2 and 5 of ConfigProto, of wire type 0; or none at all.
    assert configs == [b"\x10\x01\x28\x01", b""]
    request = {"user_id": np.array(served.users)}
    np.testing.assert_allclose(
        one.run("serving_default", request)["score"],
        c_model.run("serving_default", request)["score"],
        rtol=1e-5,
    )


def test_threads_are_positive(served):
    with pytest.raises(UserError, match="`threads` = 0"):
        CSavedModel(served.path, threads=0)


def test_bytes_are_text_too(served_by_kind, c_models):
    users = served_by_kind[str].users
    raw = np.array([user.encode() for user in users], object)
    found = c_models[str].run("embed_query", {"user_id": raw})["embedding"]
    expected = c_models[str].run("embed_query", {"user_id": np.array(users)})
    np.testing.assert_array_equal(found, expected["embedding"])


def test_it_runs_where_python_tensorflow_is_not(served):
    users = [*served.users[:3], served.unknown_user]
    exclude = [served.items[i : i + 2] for i in range(4)]
    request = {"user_id": users, "k": 6, "exclude": exclude}
    answer = subprocess.run(
        [sys.executable, "-c", _ALONE, str(served.path)],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    expected = [
        served.best(user, 6, banned)
        for user, banned in zip(users, exclude, strict=True)
    ]
    assert found["item_id"] == [ids for ids, _ in expected]
    np.testing.assert_allclose(
        found["score"], [scores for _, scores in expected], rtol=1e-5
    )


def test_signatures_are_read_as_protobuf_reads_them(served):
    raw = (served.path / "saved_model.pb").read_bytes()
    (graph,) = saved_model_pb2.SavedModel.FromString(raw).meta_graphs
    expected = {
        name: tuple(
            {key: (info.name, info.dtype) for key, info in side.items()}
            for side in (signature.inputs, signature.outputs)
        )
        for name, signature in graph.signature_def.items()
        if not name.startswith("__")
    }
    assert c_api._signatures(raw) == expected
    assert len(expected) == 4


@pytest.mark.parametrize(
    ("signature", "names"),
    [("no_such", ["user_id"]), ("score", ["user_id"]), ("score", [])],
)
def test_other_signatures_and_inputs_are_refused(c_model, signature, names):
    with pytest.raises(UserError, match="A request should name one of the"):
        c_model.run(signature, {name: np.array([1]) for name in names})


def test_ids_of_another_kind_are_refused(served, c_model):
    other = np.array(["a"] if served.no_item else [1])
    with pytest.raises(UserError, match="A tensor should hold"):
        c_model.run("embed_query", {"user_id": other})


def test_what_the_graph_refuses_is_one_line(served, c_model):
    inputs = {
        "user_id": np.array(served.users[:1]),
        "k": 0,
        "exclude": np.array([[served.no_item]]),
    }
    with pytest.raises(UserError, match="`k` should be at least 1") as raised:
        c_model.run("recommend", inputs)
    assert "\n" not in str(raised.value)
    found = c_model.run("recommend", {**inputs, "k": 1})
    assert found["score"].shape == (1, 1)


def test_no_model_and_a_broken_one_are_refused(served, tmp_path):
    with pytest.raises(UserError, match=r"no saved_model\.pb"):
        CSavedModel(tmp_path)
    raw = (served.path / "saved_model.pb").read_bytes()
    (tmp_path / "saved_model.pb").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(UserError, match="C library refused"):
        CSavedModel(tmp_path)


def test_variables_that_are_not_there_are_noticed(served, tmp_path):
    raw = (served.path / "saved_model.pb").read_bytes()
    (tmp_path / "saved_model.pb").write_bytes(raw)
    request = {"user_id": np.array(served.users)}
    # TensorFlow's loader takes this for a model without variables: what
    # notices is an initializer that reads one, or else the request.
    with pytest.raises(UserError, match="C library refused"):
        CSavedModel(tmp_path).run("embed_query", request)


def test_no_tensorflow_is_one_clear_error(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="Install the package tensorflow"):
        c_api._library.__wrapped__()
