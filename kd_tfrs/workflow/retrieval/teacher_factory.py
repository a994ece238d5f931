"""The teachers: the trained one, other kinds of models, and their mean."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import scipy.sparse

from kd_tfrs.distillation.retrieval import (
    EmbeddingTeacher,
    EnsembleTeacher,
    Fingerprint,
    ScoreTeacher,
    Teacher,
    build_cache,
)
from kd_tfrs.errors import UserError
from kd_tfrs.models import LazyAdam
from kd_tfrs.models.retrieval import Ease, LightGcn, interaction_matrix
from kd_tfrs.workflow.retrieval.config import Config
from kd_tfrs.workflow.retrieval.methods import longest_list
from kd_tfrs.workflow.retrieval.prepare import Prepared
from kd_tfrs.workflow.run import Run

# Lists are cached at least so long, so that methods share a cache.
_MIN_K = 200
_MAX_SCORES = 2**28
_SAMPLE = 256
_GRAPH_EPOCHS = 20
# The best on CiteULike's validation events among nine values from 1 to 1000.
_EASE_REGULARIZATION = 50.0


class TeacherFactory:
    """The teachers of a run, each made once.

    Args:
        run: keeps what they know.
        config: its options, with a method instead of "auto".
        prepared: data and split.
        base: makes the trained teacher, live; with it comes a list of its
            weights.
    """

    def __init__(
        self,
        run: Run,
        config: Config,
        prepared: Prepared,
        base: Callable[[], tuple[Teacher, Sequence[np.ndarray]]],
    ) -> None:
        self.run = run
        self.config = config
        self.prepared = prepared
        self._base = base
        self._made: dict[str, Teacher] = {}

    def get(self, name: str) -> Teacher:
        """A teacher by name.

        Raises:
            UserError: the data are too large for it.
        """
        if name not in self._made:
            make = {
                "teacher": self._teacher,
                "ease": self._ease,
                "lightgcn": self._lightgcn,
                "ensemble": self._ensemble,
            }
            self._made[name] = make[name]()
        return self._made[name]

    def seen(self) -> object:
        """Training items by user, where lists leave them out."""
        if self.config.distillation.exclude_seen:
            return self.prepared.seen()
        return None

    def _teacher(self) -> Teacher:
        teacher, weights = self._base()
        if self.config.distillation.knowledge == "live":
            return teacher
        return self._cached("teacher", teacher, weights)

    def _cached(
        self, name: str, teacher: Teacher, weights: Sequence[np.ndarray]
    ) -> Teacher:
        options = self.config.distillation
        digest = hashlib.sha256(str(options.exclude_seen).encode())
        for weight in weights:
            digest.update(np.ascontiguousarray(weight))
        longest = longest_list(options)
        k = min(max(longest, _MIN_K), teacher.num_candidates)
        # Only some methods use the users of an item; the lists are long.
        item_k = None
        if any("item_side" in x or "both_sides" in x for x in options.losses):
            item_k = min(longest, teacher.num_queries - 1)
        hidden = {options.teacher_output} - {"embedding"}
        parts = [name, f"k{k}", *sorted(hidden)]
        parts += [f"items{item_k}"] if item_k else []
        parts += [] if options.exclude_seen else ["with_seen"]
        return build_cache(
            teacher,
            self.run.path("knowledge", "-".join(parts)),
            fingerprint=Fingerprint(
                digest.hexdigest(), self.prepared.interactions.fingerprint()
            ),
            k=k,
            item_k=item_k,
            outputs=tuple(hidden),
        )

    def _ease(self) -> ScoreTeacher:
        shape = self._shape
        if shape[0] * shape[1] > _MAX_SCORES:
            raise UserError(
                "The teacher ease should have few users or items: it holds a "
                f"score of each pair. Received: {shape[0]} x {shape[1]} of "
                f"them, more than {_MAX_SCORES}. Take lightgcn instead."
            )
        model = Ease(self._interactions(), _EASE_REGULARIZATION)
        scores = model.all_scores()
        return ScoreTeacher(
            scores, self._scale(scores), seen=self.prepared.seen()
        )

    def _scale(self, scores: np.ndarray) -> float:
        """Divides scores so that they spread like the teacher's logits."""
        rows = np.linspace(1, len(scores) - 1, _SAMPLE).astype(np.int32)
        logits = self.get("teacher").all_scores(np.unique(rows)).numpy()
        return float(
            scores[rows].std(axis=1).mean() / logits.std(axis=1).mean()
        )

    def _lightgcn(self) -> Teacher:
        found = self.run.load_weights("lightgcn")
        training = self.config.teacher
        if found is None:
            found = self._train_lightgcn()
            self.run.save_weights("lightgcn", found)
        live = EmbeddingTeacher(
            *found, training.softmax_temperature, seen=self.seen()
        )
        return self._cached("lightgcn", live, found)

    def _train_lightgcn(self) -> list[np.ndarray]:
        config = self.config
        model = LightGcn(
            self._interactions(),
            config.teacher_towers.embedding_dim,
            temperature=config.teacher.softmax_temperature,
            seed=config.seed,
        )
        batches = self.prepared.batches(
            self.prepared.encode(), config.teacher, config.seed
        )
        epochs = min(_GRAPH_EPOCHS, config.teacher.epochs)
        model.compile(optimizer=LazyAdam(config.teacher.learning_rate))
        model.fit(
            batches.dataset(epochs),
            epochs=epochs,
            steps_per_epoch=batches.steps_per_epoch,
            verbose=0,
        )
        return [np.asarray(table) for table in model.embeddings()]

    def _ensemble(self) -> EnsembleTeacher:
        return EnsembleTeacher(
            [self.get("teacher"), self.get("ease")],
            list_k=max(longest_list(self.config.distillation), _MIN_K),
            seen=self.prepared.seen(),
        )

    @property
    def _shape(self) -> tuple[int, int]:
        catalogue = self.prepared.catalogue
        return catalogue.num_users + 1, catalogue.num_items

    def _interactions(self) -> scipy.sparse.csr_matrix:
        return interaction_matrix(*self.prepared.train_rows(), self._shape)
