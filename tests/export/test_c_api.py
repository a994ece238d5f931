"""TensorFlow's C library says what Python TensorFlow says."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from kd_tfrs.errors import UserError
from kd_tfrs.export import CSavedModel, c_api, c_library

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


def test_fields_of_every_wire_type():
    # 1: varint 300; 2: fixed64; 3: "ab"; 16: fixed32 (a key of two bytes).
    raw = b"\x08\xac\x02\x11ABCDEFGH\x1a\x02ab\x85\x01abcd"
    assert list(c_api._fields(raw)) == [
        (1, 300),
        (2, b"ABCDEFGH"),
        (3, b"ab"),
        (16, b"abcd"),
    ]


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
    # TensorFlow's loader takes this for a model without variables.
    model = CSavedModel(tmp_path)
    with pytest.raises(UserError, match="C library refused"):
        model.run("embed_query", {"user_id": np.array(served.users)})


def test_no_tensorflow_is_one_clear_error(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="Install the package tensorflow"):
        c_library.library.__wrapped__()
