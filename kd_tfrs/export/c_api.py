"""An exported model in TensorFlow's C library, without Python TensorFlow.

The C library loads a version folder as TensorFlow Serving's loader does: the
graph and the variables, without Python. Its outputs are those of a server.
This module does not import `tensorflow`. TensorFlow's protobuf messages would
import it, so the few fields of `saved_model.pb` are parsed here.
"""

from __future__ import annotations

import ctypes
import importlib.util
import math
import os
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from google.protobuf.empty_pb2 import Empty
from google.protobuf.unknown_fields import UnknownFieldSet
from google.protobuf.wrappers_pb2 import Int32Value

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.checks import check_k
from kd_tfrs.evaluation.version_folder import version_folder

# TensorFlow's numbers for types (types.proto).
_TYPES = {1: np.float32, 2: np.float64, 3: np.int32, 9: np.int64, 10: np.bool_}
_STRING = 7
_STRING_BYTES = 24  # sizeof(TF_TString)


class _Handle(ctypes.c_void_p):
    """A pointer that ctypes does not turn into a number."""


class _Output(ctypes.Structure):
    """TF_Output: one output of an operation."""

    _fields_ = (("operation", _Handle), ("index", ctypes.c_int))


_RESULTS = {
    "TF_NewStatus": _Handle,
    "TF_Message": ctypes.c_char_p,
    "TF_NewGraph": _Handle,
    "TF_NewSessionOptions": _Handle,
    "TF_LoadSessionFromSavedModel": _Handle,
    "TF_GraphOperationByName": _Handle,
    "TF_AllocateTensor": _Handle,
    "TF_TensorData": _Handle,
    "TF_Dim": ctypes.c_int64,
    "TF_StringGetDataPointer": _Handle,
    "TF_StringGetSize": ctypes.c_size_t,
}

# Name in the graph and type number of tensors, by name in the signature.
_Tensors = dict[str, tuple[str, int]]


class CSavedModel:
    """A version folder, loaded by the C library of the TensorFlow wheel.

    Args:
        path: a version folder, or a folder of versions; then the newest
            version is loaded.
        threads: number of threads within an operation and between operations;
            TensorFlow chooses it when `None`. A process has one pool of
            threads: the first model, or an earlier use of Python TensorFlow,
            sets its size.

    Raises:
        UserError: there is no C library, it cannot load the folder, or
            `threads` is not positive.

    Example:
    ```python
    model = CSavedModel("models/retrieval/1", threads=1)
    outputs = model.run("serving_default", {"user_id": np.array([196])})
    outputs["item_id"]  # [1, 10]
    ```
    """

    def __init__(
        self, path: str | os.PathLike, threads: int | None = None
    ) -> None:
        if threads is not None:
            check_k(threads, "threads")
        path = version_folder(path)
        self._graph = _library().TF_NewGraph()
        weakref.finalize(self, _library().TF_DeleteGraph, self._graph)
        self._session = _load(path, self._graph, threads)
        weakref.finalize(self, _call, "TF_DeleteSession", self._session)
        self._signatures = _signatures((path / "saved_model.pb").read_bytes())

    def run(
        self, signature: str, inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
            signature: its name.
            inputs: arrays by name; text as `str` or `bytes`, numbers are
                cast to the signature's own type.

        Returns:
            Outputs by name; text as arrays of `bytes`, dtype `object`.

        Raises:
            UserError: the signature does not exist, takes other inputs, or
                fails on these inputs.
        """
        return self.prepare(signature, inputs).run()

    def prepare(
        self, signature: str, inputs: Mapping[str, np.ndarray]
    ) -> PreparedCall:
        """Creates the tensors of a request once, to run it many times.

        Args:
            signature: see `run`.
            inputs: see `run`.

        Returns:
            A call without arguments.

        Raises:
            UserError: the signature does not exist, or takes other inputs.

        Example:
        ```python
        call = model.prepare("serving_default", {"user_id": np.array([196])})
        measure_latency(call)
        ```
        """
        takes, gives = self._signatures.get(signature, ({}, {}))
        if not gives or set(takes) != set(inputs):
            accepted = {
                name: list(tensors)
                for name, (tensors, _) in self._signatures.items()
            }
            raise UserError(
                f"A request should name one of the signatures {accepted} and "
                f"its inputs. Received: {signature!r} with {list(inputs)}."
            )
        values = [(inputs[name], number) for name, (_, number) in takes.items()]
        return PreparedCall(
            *(self, self._session, self._outputs(takes), values),
            *(self._outputs(gives), gives),
        )

    def _outputs(self, tensors: _Tensors) -> ctypes.Array[_Output]:
        outputs = (_Output * len(tensors))()
        for output, (name, _) in zip(outputs, tensors.values(), strict=True):
            operation, _, index = name.rpartition(":")
            output.operation = _library().TF_GraphOperationByName(
                self._graph, operation.encode()
            )
            output.index = int(index)
        return outputs


class PreparedCall:
    """A request with its input tensors; see `CSavedModel.prepare`.

    A call runs the graph and frees its outputs without reading them, so that
    the time of a call contains no conversion of arrays.
    """

    def __init__(
        self,
        model: CSavedModel,
        session: _Handle,
        takes: ctypes.Array[_Output],
        values: Sequence[tuple[np.ndarray, int]],
        gives: ctypes.Array[_Output],
        names: Iterable[str],
    ) -> None:
        self._model = model  # deletes the session when it is freed
        self._session, self._takes, self._gives = session, takes, gives
        self._names = tuple(names)
        self._tensors = (_Handle * len(values))()
        weakref.finalize(self, _delete_tensors, self._tensors, own=True)
        for i, (array, number) in enumerate(values):
            self._tensors[i] = _to_tensor(array, number)

    def __call__(self) -> None:
        """Runs the graph.

        Raises:
            UserError: the graph fails on these inputs.
        """
        _delete_tensors(self._session_run(), own=False)

    def run(self) -> dict[str, np.ndarray]:
        """Runs the graph and reads its outputs.

        Returns:
            Outputs by name, see `CSavedModel.run`.

        Raises:
            UserError: the graph fails on these inputs.
        """
        results = self._session_run()
        try:
            return dict(zip(self._names, map(_to_array, results), strict=True))
        finally:
            _delete_tensors(results, own=False)

    def _session_run(self) -> ctypes.Array[_Handle]:
        results = (_Handle * len(self._gives))()
        _call(
            *("TF_SessionRun", self._session, None),
            *(self._takes, self._tensors, len(self._tensors)),
            *(self._gives, results, len(results)),
            *(None, 0, None),
        )
        return results


def _delete_tensors(tensors: ctypes.Array[_Handle], own: bool) -> None:
    for tensor in tensors:
        _delete_tensor(tensor, own=own)


def _load(path: Path, graph: _Handle, threads: int | None) -> _Handle:
    options = _library().TF_NewSessionOptions()
    tags = (ctypes.c_char_p * 1)(b"serve")
    config = b"" if threads is None else _config(threads)
    try:
        _call("TF_SetConfig", options, config, ctypes.c_size_t(len(config)))
        return _call(
            *("TF_LoadSessionFromSavedModel", options, None),
            *(os.fsencode(path), tags, 1, graph, None),
        )
    finally:
        _library().TF_DeleteSessionOptions(options)


def _config(threads: int) -> bytes:
    """A ConfigProto with this many threads."""
    # From config.proto: intra_op_parallelism_threads = 2 and
    # inter_op_parallelism_threads = 5, both of wire type 0.
    varint = Int32Value(value=threads).SerializeToString()[1:]
    return b"".join(bytes([field << 3]) + varint for field in (2, 5))


def _signatures(saved_model: bytes) -> dict[str, tuple[_Tensors, _Tensors]]:
    """Inputs and outputs of every signature."""
    # From saved_model.proto and meta_graph.proto: SavedModel has
    # meta_graphs = 2; MetaGraphDef has signature_def = 5; SignatureDef has
    # inputs = 1 and outputs = 2; TensorInfo has name = 1 and dtype = 2.
    return {
        name: (_tensors(signature, 1), _tensors(signature, 2))
        for number, graph in _fields(saved_model)
        if number == 2
        for name, signature in _entries(graph, 5)
        # TensorFlow adds signatures of its own, such as __saved_model_init_op.
        if not name.startswith("__")
    }


def _tensors(signature: bytes, field: int) -> _Tensors:
    infos = {name: dict(_fields(i)) for name, i in _entries(signature, field)}
    return {name: (info[1].decode(), info[2]) for name, info in infos.items()}


def _entries(message: bytes, field: int) -> Iterator[tuple[str, bytes]]:
    """A map field: entries with key = 1 and value = 2."""
    for number, value in _fields(message):
        if number == field:
            entry = dict(_fields(value))
            yield entry[1].decode(), entry.get(2, b"")


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of every field: of an empty message, all are unknown."""
    for field in UnknownFieldSet(Empty.FromString(message)):
        yield field.field_number, field.data


@cache
def _library() -> ctypes.CDLL:
    """The C library of the installed TensorFlow wheel, with result types."""
    spec = importlib.util.find_spec("tensorflow")
    folders = spec.submodule_search_locations if spec else ()
    for file in (
        f for d in folders for f in Path(d).glob("libtensorflow_cc.*")
    ):
        loaded = ctypes.CDLL(str(file))
        for name, result in _RESULTS.items():
            getattr(loaded, name).restype = result
        return loaded
    raise UserError(
        "TensorFlow's wheel should bring libtensorflow_cc. Received: none in "
        f"{list(folders)}. Install the package tensorflow."
    )


def _call(function: str, *arguments: object) -> _Handle:
    """Calls a function with a status as last argument, and checks it."""
    status = _library().TF_NewStatus()
    try:
        result = getattr(_library(), function)(*arguments, status)
        if _library().TF_GetCode(status):
            text = _library().TF_Message(status).decode(errors="replace")
            raise UserError(
                "TensorFlow's C library refused. Received: "
                f"{' '.join(text.split())}"
            )
        return result
    finally:
        _library().TF_DeleteStatus(status)


def _to_tensor(values: np.ndarray, number: int) -> _Handle:
    """Copies an array to a new tensor of a type, by TensorFlow's number."""
    is_text, values = number == _STRING, np.asarray(values)
    # The kind of an empty array has no meaning.
    if values.size and is_text != (values.dtype.kind in "OSU"):
        kind = "text" if is_text else "numbers"
        raise UserError(
            f"A tensor should hold {kind} here. Received: an array of "
            f"{values.dtype}. Give ids of the kind that the data has."
        )
    if not is_text:
        values = values.astype(_TYPES[number])
    size = _STRING_BYTES if is_text else values.itemsize
    tensor = _library().TF_AllocateTensor(
        number,
        (ctypes.c_int64 * values.ndim)(*values.shape),
        values.ndim,
        ctypes.c_size_t(size * values.size),
    )
    if not is_text:
        data = _library().TF_TensorData(tensor)
        ctypes.memmove(data, values.tobytes(), values.nbytes)
        return tensor
    for text, place in zip(values.flat, _strings(tensor), strict=True):
        raw = text.encode() if isinstance(text, str) else text
        _library().TF_StringInit(place)
        _library().TF_StringCopy(place, raw, ctypes.c_size_t(len(raw)))
    return tensor


def _to_array(tensor: _Handle) -> np.ndarray:
    """Copies a tensor to a new array; text as `bytes`, dtype `object`."""
    number, shape = _library().TF_TensorType(tensor), _shape(tensor)
    if number != _STRING:
        dtype = np.dtype(_TYPES[number])
        data = _library().TF_TensorData(tensor)
        raw = ctypes.string_at(data, math.prod(shape) * dtype.itemsize)
        return np.frombuffer(raw, dtype).reshape(shape).copy()
    texts = np.empty(math.prod(shape), object)
    for i, place in enumerate(_strings(tensor)):
        size = _library().TF_StringGetSize(place)
        texts[i] = ctypes.string_at(
            _library().TF_StringGetDataPointer(place), size
        )
    return texts.reshape(shape)


def _delete_tensor(tensor: _Handle, own: bool) -> None:
    """Frees a tensor, if any; `own` where `_to_tensor` created it."""
    if not tensor:
        return
    # TensorFlow frees the long strings of its own tensors only.
    if own and _library().TF_TensorType(tensor) == _STRING:
        for place in _strings(tensor):
            _library().TF_StringDealloc(place)
    _library().TF_DeleteTensor(tensor)


def _shape(tensor: _Handle) -> tuple[int, ...]:
    axes = range(_library().TF_NumDims(tensor))
    return tuple(_library().TF_Dim(tensor, axis) for axis in axes)


def _strings(tensor: _Handle) -> Iterator[_Handle]:
    start = _library().TF_TensorData(tensor).value
    for i in range(math.prod(_shape(tensor))):
        yield _Handle(start + i * _STRING_BYTES)
