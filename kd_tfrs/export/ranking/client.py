"""A client of an exported ranker, which runs its signatures."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.checks import check_k
from kd_tfrs.evaluation.ids import as_ids
from kd_tfrs.evaluation.version_folder import version_folder
from kd_tfrs.export.ranking.inputs import HISTORY, in_blocks, missing_value
from kd_tfrs.export.ranking.keras_ranker import check_context
from kd_tfrs.export.signature_functions import input_key

_OWN = ("user_id", "item_id", "k", HISTORY)


class SavedModelRanker:
    """Scores and ranks with the signatures of an exported ranker.

    Args:
        path: a version folder, or a folder of versions; then the newest
            version is loaded.

    Raises:
        UserError: no SavedModel there, or one without `serving_default`.

    Example:
    ```python
    ranker = SavedModelRanker("models/ranking")
    ids, scores = ranker.rank(196, candidates, k=10, context={"hour": 20})
    logits = ranker.score(test.table, test.history)["liked"]
    ```
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = version_folder(path)
        # The loaded object owns the variables; signatures alone would not.
        self._model = tf.saved_model.load(str(self.path))
        self.signatures = self._model.signatures
        # Kept for all requests, since TensorFlow creates them at each access.
        self._specs = {
            name: dict(signature.structured_input_signature[1])
            for name, signature in self.signatures.items()
        }
        outputs = self._signature("serving_default").structured_outputs
        self.tasks = tuple(
            name.removeprefix("logits_")
            for name in outputs
            if name.startswith("logits_")
        )
        if not self.tasks:
            raise UserError(
                "`path` should hold an exported ranker. Received: "
                f"{self.path}, which answers {sorted(outputs)}. Give the "
                "folder that export_saved_model wrote."
            )

    def score(
        self, table: pd.DataFrame, history: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Computes logits by `serving_default`; see `KerasRanker.score`."""
        serve = self._signature("serving_default")
        outputs = in_blocks(
            lambda part: serve(**{k: tf.constant(v) for k, v in part.items()}),
            self.requests(table, history),
            len(table),
        )
        return {task: outputs[f"logits_{task}"] for task in self.tasks}

    def requests(
        self, table: pd.DataFrame, history: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """The inputs of `serving_default`; absent columns are missing."""
        specs = self._specs["serving_default"]
        columns = {input_key(name): table[name] for name in table.columns}
        inputs = {}
        for key, spec in specs.items():
            if len(spec.shape) == 2:
                nothing = np.empty((len(table), 0), object)
                values = nothing if history is None else history
                inputs[key] = _sent(values, spec.dtype, key)
            elif key in columns:
                inputs[key] = _sent(columns[key], spec.dtype, key)
            else:
                inputs[key] = np.full(
                    len(table),
                    missing_value(spec.dtype),
                    spec.dtype.as_numpy_dtype,
                )
        return inputs

    def rank(
        self,
        user_id: Any,
        items: Any,
        k: int,
        context: Mapping[str, Any] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ranks given items for a user; see `KerasRanker.rank`."""
        check_k(k)
        rank = self._signature("rank")
        sent = self.rank_request(user_id, items, k, context)
        outputs = rank(**{name: tf.constant(v) for name, v in sent.items()})
        ids = as_ids(outputs["item_id"].numpy(), "item_id")
        return ids, outputs["score"].numpy()

    def rank_request(
        self,
        user_id: Any,
        items: Any,
        k: int,
        context: Mapping[str, Any] | None = None,
    ) -> dict[str, np.ndarray]:
        """The inputs of `rank` by name, with absent features as missing."""
        self._signature("rank")
        specs = self._specs["rank"]
        given = {input_key(name): v for name, v in (context or {}).items()}
        names = [name for name in specs if name not in _OWN]
        check_context(given, names, specs.get(HISTORY))
        given |= {"user_id": user_id, "item_id": items, "k": k}
        inputs = {}
        for name, spec in specs.items():
            value = given.get(name)
            if name == HISTORY and value is None:
                value = np.empty(0, object)
            if not spec.shape.rank:
                value = [missing_value(spec.dtype) if value is None else value]
            values = _sent(value, spec.dtype, name)
            inputs[name] = values if spec.shape.rank else values[0]
        return inputs

    def _signature(self, name: str) -> Any:
        if name not in self.signatures:
            raise UserError(
                f"`path` should hold a ranker with the signature {name!r}. "
                f"Received: {self.path} with {sorted(self.signatures)}. "
                "Export it with tables."
            )
        return self.signatures[name]


def _sent(values: Any, dtype: tf.DType, name: str) -> np.ndarray:
    """Values of an input's type, `missing_value` where they are missing."""
    array = np.asarray(values)
    # Most requests need no further conversion.
    numbers = "iu" if dtype.is_integer else "iuf"
    if array.dtype.kind in ("U" if dtype == tf.string else numbers):
        return array.astype(dtype.as_numpy_dtype)
    flat = pd.Series(array.ravel())
    try:
        converted = _converted(flat, dtype)
    except (TypeError, ValueError, OverflowError):
        kind = "integers" if dtype.is_integer else "numbers"
        raise UserError(
            f"`{name}` should be {kind} for this export. Received: "
            f"{flat.iloc[0]!r}. Give values of the kind that the model "
            "was trained on."
        ) from None
    return converted.reshape(array.shape)


def _converted(values: pd.Series, dtype: tf.DType) -> np.ndarray:
    if dtype.is_floating:
        return pd.to_numeric(values).to_numpy(np.float64, na_value=np.nan)
    if dtype.is_integer:
        filled = values.where(values.notna(), dtype.min)
        whole = filled.astype(dtype.as_numpy_dtype)
        if not (whole == filled).all():
            raise ValueError("not whole")
        return whole.to_numpy()
    # Many rows share few distinct values, so each value is converted once.
    codes, distinct = pd.factorize(values, use_na_sentinel=False)
    texts = pd.Series(distinct, dtype=object)
    texts = texts.where(texts.notna(), "").astype(str)
    return texts.to_numpy(dtype=object)[codes]
