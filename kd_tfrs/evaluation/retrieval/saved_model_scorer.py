"""A SavedModel as a scorer, so that the export itself is measured."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.checks import check_k
from kd_tfrs.evaluation.ids import (
    Exclusions,
    as_ids,
    id_kind,
    padding_id,
    shown,
)
from kd_tfrs.evaluation.version_folder import version_folder

# Users in one request.
_BATCH = 512


class SavedModelScorer:
    """Recommends with the signatures of an exported SavedModel.

    `recommend` takes `user_id` [b], `k` and `exclude` [b, e] and returns
    `item_id` and `score` [b, k]; `score` takes `user_id` [b] and `item_id`
    [b, m] and returns `score` [b, m]. Ids are raw, of the kind that the data
    has. Rows of `exclude` are padded with "" or with the smallest int64.

    Args:
        path: a version folder, or a folder of versions; then the newest
            version is loaded.

    Raises:
        UserError: no SavedModel there, or one without these signatures.

    Example:
    ```python
    scorer = SavedModelScorer("runs/first/export")
    ids, scores = scorer.recommend([196], k=10)
    ```
    """

    def __init__(self, path: str | Path) -> None:
        self.path = version_folder(path)
        # The loaded object owns the variables; signatures alone would not.
        self._model = _load(self.path)
        missing = {"recommend", "score"} - set(self._model.signatures)
        if missing:
            raise UserError(
                "`path` should hold a model with the signatures `recommend` "
                f"and `score`. Received: {self.path} without "
                f"{sorted(missing)}. Export it with kd_tfrs.export."
            )
        self._recommend = self._model.signatures["recommend"]
        self._score = self._model.signatures["score"]

    def recommend(
        self, queries: Any, k: int, exclude: Any = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Finds the k best items of each query; see `Scorer.recommend`."""
        check_k(k)
        queries = self._ids(self._recommend, "user_id", queries).ravel()
        exclude = Exclusions.of(exclude, len(queries))
        self._ids(self._recommend, "exclude", exclude.ids)
        parts = [
            self._recommend_batch(
                queries[start : start + _BATCH],
                k,
                exclude.block(start, min(start + _BATCH, len(queries))),
            )
            for start in range(0, max(1, len(queries)), _BATCH)
        ]
        ids, scores = zip(*parts, strict=True)
        return np.concatenate(ids), np.concatenate(scores)

    def score(self, queries: Any, candidates: Any) -> np.ndarray:
        """Scores given candidates; see `Scorer.score`."""
        queries = self._ids(self._score, "user_id", queries).ravel()
        items = self._ids(self._score, "item_id", candidates)
        inputs = {"user_id": queries, "item_id": items}
        parts = [
            self._score(
                **{
                    name: _constant(self._score, name, x[i : i + _BATCH])
                    for name, x in inputs.items()
                }
            )["score"].numpy()
            for i in range(0, max(1, len(queries)), _BATCH)
        ]
        return np.concatenate(parts).astype(np.float32, copy=False)

    def parse_user_ids(self, texts: Sequence[str]) -> np.ndarray:
        """Parses ids from text into the kind that the export takes.

        Args:
            texts: [n].

        Returns:
            [n] `int64` or strings.

        Raises:
            UserError: text where the export takes integers.
        """
        return _parsed(self._recommend, "user_id", texts)

    def parse_item_ids(self, texts: Sequence[str]) -> np.ndarray:
        """Parses item ids from text; see `parse_user_ids`."""
        return _parsed(self._recommend, "exclude", texts)

    def knows(self, user_id: Any) -> bool:
        """Whether the model has a query for a user besides the fallback.

        Args:
            user_id: a raw id.

        Returns:
            False where the embedding equals that of the padding id, which no
            user has.
        """
        embed = self._model.signatures["embed_query"]
        is_text = _dtype(embed, "user_id") == tf.string
        padding = padding_id(is_text=is_text)
        both = _constant(embed, "user_id", np.array([user_id, padding], object))
        mine, fallback = embed(user_id=both)["embedding"].numpy()
        return not np.array_equal(mine, fallback)

    def _recommend_batch(
        self, queries: np.ndarray, k: int, exclude: Exclusions
    ) -> tuple[np.ndarray, np.ndarray]:
        is_text = _dtype(self._recommend, "exclude") == tf.string
        padded = exclude.padded(padding_id(is_text=is_text))
        outputs = self._recommend(
            user_id=_constant(self._recommend, "user_id", queries),
            k=tf.constant(k, tf.int32),
            exclude=_constant(self._recommend, "exclude", padded),
        )
        ids = as_ids(outputs["item_id"].numpy(), "item_id")
        scores = outputs["score"].numpy().astype(np.float32, copy=False)
        short = ((0, 0), (0, k - scores.shape[1]))
        return (
            np.pad(ids, short, mode="edge"),
            np.pad(scores, short, constant_values=-np.inf),
        )

    def _ids(self, signature: Any, name: str, values: Any) -> np.ndarray:
        """Checks that ids are of the kind that the signature takes."""
        ids = as_ids(values, name)
        is_text = _dtype(signature, name) == tf.string
        if ids.size and (id_kind(ids) == "text") != is_text:
            raise UserError(
                f"`{name}` should be {'text' if is_text else 'integers'} for "
                f"this export. Received: {shown(ids.ravel()[0])}. Give ids "
                "of the kind that the model was trained on."
            )
        return ids


def _load(version: Path) -> Any:
    try:
        return tf.saved_model.load(str(version))
    # The type of TensorFlow's exception depends on the damaged file.
    except (OSError, ValueError, LookupError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"`path` should hold a whole SavedModel. Received: {version}, "
            f"which TensorFlow cannot load ({reason}). Export it again."
        ) from error


def _parsed(signature: Any, name: str, texts: Sequence[str]) -> np.ndarray:
    if _dtype(signature, name) == tf.string:
        return np.array([text.strip() for text in texts], object)
    wrong = [t for t in texts if not re.fullmatch(r"\s*-?\d{1,18}\s*", t)]
    if wrong:
        raise UserError(
            "Ids of this export should be integers, as in the data it was "
            f"made from. Received: {shown(wrong[0])}. Give whole numbers."
        )
    return np.array([int(text) for text in texts], np.int64)


def _dtype(signature: Any, name: str) -> tf.DType:
    """The dtype of one input of a signature."""
    return signature.structured_input_signature[1][name].dtype


def _constant(signature: Any, name: str, values: np.ndarray) -> tf.Tensor:
    """A tensor of the dtype that the signature takes."""
    return tf.constant(values, _dtype(signature, name))
