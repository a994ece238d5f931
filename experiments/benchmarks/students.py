"""Students of a benchmark, each with a training step and its batches."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from zipfile import BadZipFile

import kd_tfrs  # noqa: F401  before TensorFlow: it chooses Keras 2

# isort: split
import numpy as np
import tensorflow as tf

from kd_tfrs.distillation import GradientNormBalance
from kd_tfrs.distillation.retrieval import (
    Distiller,
    EmbeddingTeacher,
    Teacher,
    TwoTowerTeacher,
)
from kd_tfrs.distillation.retrieval.teachers import rank_all
from kd_tfrs.errors import UserError
from kd_tfrs.models.retrieval import RetrievalModel
from kd_tfrs.workflow.comparison.contenders import ALONE, contender
from kd_tfrs.workflow.retrieval.builders import build_model, build_teacher
from kd_tfrs.workflow.retrieval.config import Config
from kd_tfrs.workflow.retrieval.contenders import FAMILY
from kd_tfrs.workflow.retrieval.methods import (
    METHODS,
    Setting,
    build_terms,
    longest_list,
    parse_method,
)
from kd_tfrs.workflow.retrieval.prepare import Prepared
from kd_tfrs.workflow.training import set_weights

LIVE = "@live"
_ENDLESS = 100_000
# Cached for these alone, since the lists of the other side are many.
_ITEM_SIDE = ("item_side", "both_sides")


@dataclasses.dataclass(frozen=True)
class Student:
    """A student that is being trained.

    Args:
        name: of its method, or "student" without one.
        step: a compiled training step.
        batches: epoch after epoch, with the candidates of its method.
    """

    name: str
    step: Callable[[dict], object]
    batches: tf.data.Dataset


class StudentFactory:
    """Makes the students, with the same data and teacher.

    All of them, also the student alone, use the `distilled_` options, so that
    ratios compare equal batches.

    Args:
        config: options; the defaults of a method take precedence, as in
            `compare.py`.
        prepared: data.
        names: names of all students, see `make`.
        weights: path of a teacher's weights as a run keeps them, or `None`
            for an untrained teacher.
    """

    def __init__(
        self,
        config: Config,
        prepared: Prepared,
        names: Iterable[str],
        weights: str | None,
    ) -> None:
        tf.keras.utils.set_random_seed(config.seed)
        # Many functions of one method's name look to it like retracing.
        tf.get_logger().setLevel("ERROR")
        self.prepared = prepared
        self._configs = {name: _config_of(name, config) for name in names}
        self._encoded = prepared.encode(config.student_towers)
        self.batches = prepared.batches(
            self._encoded, config.distilled, config.seed
        )
        self._live = self._make_live(config, weights)
        self._cached = self._make_cached()

    def make(self, name: str) -> Student:
        """A new student.

        Args:
            name: "student", methods as `compare.py` has them, or such ones
                with "@live" at the end: the teacher's towers run in every
                step.

        Returns:
            The student, before its first step.
        """
        config = self._configs[name]
        model = build_model(
            self._encoded,
            config.student_towers,
            config.distilled,
            self.batches.steps_per_epoch,
        )
        trained, join = model, None
        if name != ALONE:
            teacher = self._live if name.endswith(LIVE) else self._cached
            trained = self._distiller(config, teacher, model)
            join = trained.join

        dataset = self.batches.dataset(_ENDLESS, join=join)
        step = tf.function(
            trained.train_step, input_signature=[dataset.element_spec]
        )
        return Student(name, step, dataset)

    def _distiller(
        self, config: Config, teacher: Teacher, model: RetrievalModel
    ) -> Distiller:
        options, catalogue = config.distillation, self.prepared.catalogue
        setting = Setting(
            options,
            config.distilled.epochs * self.batches.steps_per_epoch,
            *self.prepared.train_rows(),
            catalogue.num_users + 1,
            catalogue.num_items,
            self.prepared.seen() if options.exclude_seen else None,
        )
        terms, weights = build_terms(options.losses, setting)
        distiller = Distiller(
            teacher,
            model,
            terms,
            weights,
            options.student_loss_weight,
            balance=GradientNormBalance() if options.balance else None,
        )
        distiller.compile(optimizer=model.optimizer)
        return distiller

    def _make_live(self, config: Config, weights: str | None) -> Teacher:
        encoded = self.prepared.encode(config.teacher_towers)
        model = build_model(encoded, config.teacher_towers, config.teacher, 1)
        if weights is not None:
            _load(model, weights)
        excludes = config.distillation.exclude_seen
        seen = self.prepared.seen() if excludes else None
        return build_teacher(model, encoded, seen)

    def _make_cached(self) -> EmbeddingTeacher:
        """The same teacher as a cache."""
        live = self._live
        cached = [x for n, x in self._configs.items() if not n.endswith(LIVE)]
        k = max([1, *(longest_list(x.distillation) for x in cached)])
        item_lists = None
        if any(
            side in text
            for x in cached
            for text in x.distillation.losses
            for side in _ITEM_SIDE
        ):
            item_lists = rank_all(live.reversed(), min(k, live.num_queries - 1))
        return EmbeddingTeacher(
            *_embeddings(live),
            live.temperature,
            lists=rank_all(live, k),
            item_lists=item_lists,
        )


def _config_of(name: str, config: Config) -> Config:
    found = Config.from_flat(
        contender(name.removesuffix(LIVE), config, FAMILY).flat
    )
    for text in () if name == ALONE else found.distillation.losses:
        named = parse_method(text, METHODS)
        if (named.teacher or METHODS[named.method].teacher) != "teacher":
            raise UserError(
                "`--methods` should name methods of the trained teacher; no "
                f"other one is timed. Received: {name!r}. Leave it out."
            )
    return found


def _embeddings(teacher: TwoTowerTeacher) -> tuple[np.ndarray, np.ndarray]:
    return (
        teacher.embed_queries(tf.range(teacher.num_queries)).numpy(),
        teacher.embed_candidates(tf.range(teacher.num_candidates)).numpy(),
    )


def _load(model: RetrievalModel, path: str) -> None:
    try:
        with np.load(path) as arrays:
            set_weights(
                model, [arrays[f"arr_{i}"] for i in range(len(arrays.files))]
            )
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise UserError(
            "`--teacher_weights` should be weights/teacher.npz of a run with "
            f"the same teacher_* flags and data. Received: {path} "
            f"({error}). Leave it out for an untrained teacher."
        ) from None


def measure_steps(
    students: Sequence[Student],
    repeats: int,
    steps: int,
    warmup: int,
    seed: int,
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Times the steps of every student in turns.

    Args:
        students: of different names.
        repeats: turns of each.
        steps: steps of a turn that are measured.
        warmup: steps at its start that are not.
        seed: of the order.

    Returns:
        Milliseconds of every step, and candidates that one embeds, by name.
    """
    generator = np.random.default_rng(seed)
    iterators = {s.name: iter(s.batches) for s in students}
    candidates = {}
    for student in students:  # the first step compiles
        batch = next(iterators[student.name])
        candidates[student.name] = int(batch["candidate_row"].shape[0])
        student.step(batch)
    times: dict[str, list[float]] = {s.name: [] for s in students}
    for _ in range(repeats):
        for at in generator.permutation(len(students)):
            name, step = students[at].name, students[at].step
            for number in range(warmup + steps):
                start = time.perf_counter()
                step(next(iterators[name]))
                elapsed = time.perf_counter() - start
                if number >= warmup:
                    times[name].append(1e3 * elapsed)
    return times, candidates


def measure_epochs(
    students: Sequence[Student], steps: int, repeats: int
) -> dict[str, float]:
    """Times whole epochs with the input pipeline, one student after another.

    A student's epochs come from one iterator, as they do in `fit`.

    Args:
        students: of different names.
        steps: steps of an epoch.
        repeats: epochs of each.

    Returns:
        Median seconds by name.
    """
    seconds: dict[str, list[float]] = {s.name: [] for s in students}
    iterators = {s.name: iter(s.batches) for s in students}
    for _ in range(repeats):
        for student in students:
            batches = iterators[student.name]
            start = time.perf_counter()
            for batch in itertools.islice(batches, steps):
                student.step(batch)
            seconds[student.name].append(time.perf_counter() - start)
    return {name: statistics.median(x) for name, x in seconds.items()}
