"""TensorFlow's C library through ctypes: handles, calls and tensors."""

from __future__ import annotations

import ctypes
import importlib.util
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from kd_tfrs.errors import UserError

# TensorFlow's numbers for types (types.proto).
_TYPES = {1: np.float32, 2: np.float64, 3: np.int32, 9: np.int64, 10: np.bool_}
_STRING = 7
_STRING_BYTES = 24  # sizeof(TF_TString)


class Handle(ctypes.c_void_p):
    """A pointer that ctypes does not turn into a number."""


class Output(ctypes.Structure):
    """TF_Output: one output of an operation."""

    _fields_ = (("operation", Handle), ("index", ctypes.c_int))


_RESULTS = {
    "TF_NewStatus": Handle,
    "TF_Message": ctypes.c_char_p,
    "TF_NewGraph": Handle,
    "TF_NewSessionOptions": Handle,
    "TF_LoadSessionFromSavedModel": Handle,
    "TF_GraphOperationByName": Handle,
    "TF_AllocateTensor": Handle,
    "TF_TensorData": Handle,
    "TF_Dim": ctypes.c_int64,
    "TF_StringGetDataPointer": Handle,
    "TF_StringGetSize": ctypes.c_size_t,
}


@cache
def library() -> ctypes.CDLL:
    """The C library of the installed TensorFlow wheel.

    Returns:
        The library, with the result types of the functions in use.

    Raises:
        UserError: there is no TensorFlow, or its wheel lacks the library.
    """
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


def call(function: str, *arguments: object) -> Handle:
    """Calls a function with a status as last argument, and checks the status.

    Args:
        function: name of the function.
        *arguments: all arguments except the status.

    Returns:
        The result of the function.

    Raises:
        UserError: the status is not OK.
    """
    status = library().TF_NewStatus()
    try:
        result = getattr(library(), function)(*arguments, status)
        if library().TF_GetCode(status):
            text = library().TF_Message(status).decode(errors="replace")
            raise UserError(
                "TensorFlow's C library refused. Received: "
                f"{' '.join(text.split())}"
            )
        return result
    finally:
        library().TF_DeleteStatus(status)


def to_tensor(values: np.ndarray, number: int) -> Handle:
    """Copies an array to a new tensor.

    Args:
        values: of any shape; text as `str` or `bytes`.
        number: TensorFlow's number of the tensor's type.

    Returns:
        A tensor. Free it with `delete_tensor`.

    Raises:
        UserError: the values are of another kind.
    """
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
    tensor = library().TF_AllocateTensor(
        number,
        (ctypes.c_int64 * values.ndim)(*values.shape),
        values.ndim,
        ctypes.c_size_t(size * values.size),
    )
    if not is_text:
        data = library().TF_TensorData(tensor)
        ctypes.memmove(data, values.tobytes(), values.nbytes)
        return tensor
    for text, place in zip(values.flat, _strings(tensor), strict=True):
        raw = text.encode() if isinstance(text, str) else text
        library().TF_StringInit(place)
        library().TF_StringCopy(place, raw, ctypes.c_size_t(len(raw)))
    return tensor


def to_array(tensor: Handle) -> np.ndarray:
    """Copies a tensor to a new array.

    Args:
        tensor: of text, or of a type that `to_tensor` takes.

    Returns:
        The array; text as `bytes`, dtype `object`.
    """
    number, shape = library().TF_TensorType(tensor), _shape(tensor)
    if number != _STRING:
        dtype = np.dtype(_TYPES[number])
        data = library().TF_TensorData(tensor)
        raw = ctypes.string_at(data, math.prod(shape) * dtype.itemsize)
        return np.frombuffer(raw, dtype).reshape(shape).copy()
    texts = np.empty(math.prod(shape), object)
    for i, place in enumerate(_strings(tensor)):
        size = library().TF_StringGetSize(place)
        texts[i] = ctypes.string_at(
            library().TF_StringGetDataPointer(place), size
        )
    return texts.reshape(shape)


def delete_tensor(tensor: Handle, own: bool) -> None:
    """Frees a tensor.

    Args:
        tensor: the tensor; nothing happens where it is null.
        own: whether `to_tensor` created it. TensorFlow frees the long strings
            of its own tensors only.
    """
    if not tensor:
        return
    if own and library().TF_TensorType(tensor) == _STRING:
        for place in _strings(tensor):
            library().TF_StringDealloc(place)
    library().TF_DeleteTensor(tensor)


def _shape(tensor: Handle) -> tuple[int, ...]:
    axes = range(library().TF_NumDims(tensor))
    return tuple(library().TF_Dim(tensor, axis) for axis in axes)


def _strings(tensor: Handle) -> Iterator[Handle]:
    start = library().TF_TensorData(tensor).value
    for i in range(math.prod(_shape(tensor))):
        yield Handle(start + i * _STRING_BYTES)
