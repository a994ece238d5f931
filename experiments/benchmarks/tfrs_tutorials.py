r"""Distils the six models of the TFRS documentation on MovieLens-100K.

Each model of tests/distillation/tfrs_models/tutorials.py is the teacher of a
narrow one of its own class, unchanged. The teacher, the student alone and the
distilled student are trained with Adagrad, each at the step size and to the
epoch with the best validation. Events are split at random as
in the tutorials: 70 % to train, 10 % to validate, 20 % to test. To copy:

    KD_TFRS_DATA_DIR=... python experiments/benchmarks/tfrs_tutorials.py \
        --seeds=3 --output=experiments/benchmarks/results/tfrs_tutorials
"""

from __future__ import annotations

import json
import pathlib
import sys
import time
from collections.abc import Callable

import numpy as np
from absl import app, flags

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "distillation" / "tfrs_models"))

import kd_tfrs as kd

# isort: split
import tensorflow as tf
import tutorials

from kd_tfrs.evaluation import paired_test_over_seeds
from kd_tfrs.evaluation.tables import as_markdown, mean_and_deviation

FLAGS = flags.FLAGS
flags.DEFINE_integer("seeds", 3, "Seeds of everything.", 1)
flags.DEFINE_list("rates", ["0.1", "0.03"], "Step sizes of Adagrad.")
flags.DEFINE_integer("epochs", 12, "Epochs at most.", 1)
flags.DEFINE_integer("patience", 3, "Epochs without a better validation.", 1)
flags.DEFINE_list("models", [], "Names of models; all when not given.")
flags.DEFINE_string("output", None, "Where to write, without .json and .md.")

_HISTORY = 10
_K = 100
_WIDE, _NARROW = 32, 4
Batches = tf.data.Dataset
Metric = Callable[[tf.keras.Model], float]


def columns(seed: int) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """The columns of all events, and the rows of the three parts."""
    data = kd.load("movielens-100k")
    schema = data.schema
    events = data.events.merge(data.items, on=schema.item_id)
    events = events.merge(data.users, on=schema.user_id)
    # Keras's mean over the words of an empty title is NaN.
    events = events[events["title"] != ""]
    events = events.sort_values(schema.time, kind="stable", ignore_index=True)

    def text(name: str) -> np.ndarray:
        return events[name].astype(str).to_numpy(object).astype(str)

    titles = text("title")
    found = {
        "user_id": text(schema.user_id),
        "movie_title": titles,
        "user_rating": events[schema.label].to_numpy(np.float32),
        "timestamp": events[schema.time].to_numpy(np.float32),
        "user_gender": text("gender"),
        "user_occupation": text("occupation"),
        "label_movie_title": titles,
    }
    # The films before each event of the user, the oldest first.
    context = np.full((len(events), _HISTORY), "", titles.dtype)
    for rows in events.groupby(schema.user_id, sort=False).indices.values():
        for back in range(1, _HISTORY + 1):
            context[rows[back:], _HISTORY - back] = titles[rows[:-back]]
    found["context_movie_title"] = context
    order = np.random.default_rng(seed).permutation(len(events))
    ends = np.int64([0.7 * len(order), 0.8 * len(order)])
    return found, np.split(order, ends)


def batches(found: dict[str, np.ndarray], rows: np.ndarray) -> Batches:
    """Batches of some rows, as the tutorials make them."""
    some = {name: values[rows] for name, values in found.items()}
    return tf.data.Dataset.from_tensor_slices(some).batch(4096).cache()


def recall(
    query: Callable, candidate: Callable, found: dict, rows: np.ndarray
) -> Metric:
    """Recall@100 of the films of some rows among all films."""
    titles = np.unique(found["movie_title"])
    place = np.searchsorted(titles, found["movie_title"][rows])

    def measure(model: tf.keras.Model) -> float:
        items = candidate(model)(tf.constant(titles)).numpy()
        part = {name: values[rows] for name, values in found.items()}
        hits = []
        for start in range(0, len(rows), 2000):
            few = {
                n: tf.constant(v[start : start + 2000]) for n, v in part.items()
            }
            scores = query(model)(few).numpy() @ items.T
            own = np.take_along_axis(
                scores, place[start : start + 2000, None], axis=1
            )
            hits.append((scores > own).sum(axis=1) < _K)
        return float(np.concatenate(hits).mean())

    return measure


def rmse(data: Batches) -> Metric:
    """Root mean squared error of the rating of a model's own predictions."""

    def measure(model: tf.keras.Model) -> float:
        errors = []
        for batch in data:
            features = dict(batch)
            labels = features.pop("user_rating").numpy()
            found = model(features)
            found = found[-1] if isinstance(found, tuple) else found
            errors.append((found.numpy()[:, 0] - labels) ** 2)
        return float(np.sqrt(np.concatenate(errors).mean()))

    return measure


class Best(tf.keras.callbacks.Callback):
    """Keeps the weights of the best epoch, and stops after some others.

    Args:
        student: the model that is measured.
        measure: validation metric.
        sign: -1 where lower values are better.
    """

    def __init__(
        self, student: tf.keras.Model, measure: Metric, sign: float
    ) -> None:
        super().__init__()
        self.student, self.measure, self.sign = student, measure, sign
        self.value, self.idle, self.kept = -np.inf, 0, None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Measures the student."""
        del epoch, logs
        value, self.idle = self.sign * self.measure(self.student), self.idle + 1
        if value > self.value:
            self.value, self.idle = value, 0
            self.kept = self.student.get_weights()
        self.model.stop_training = self.idle >= FLAGS.patience

    def on_train_end(self, logs: dict | None = None) -> None:
        """Restores the weights of the best epoch."""
        del logs
        self.student.set_weights(self.kept)


def fitted(
    make: Callable[[], tuple[tf.keras.Model, tf.keras.Model]],
    train: Batches,
    measure: Metric,
    sign: float,
    seed: int,
) -> tf.keras.Model:
    """The best epoch of the best step size, by validation.

    Args:
        make: a new model that is trained, and the one that is measured: the
            same, or a distiller and its student.
        train: training batches.
        measure: validation metric.
        sign: -1 where lower values are better.
        seed: of the initial weights.
    """
    found = []
    for rate in map(float, FLAGS.rates):
        tf.keras.utils.set_random_seed(seed)
        trained, student = make()
        trained.compile(optimizer=tf.keras.optimizers.legacy.Adagrad(rate))
        best = Best(student, measure, sign)
        trained.fit(train, epochs=FLAGS.epochs, verbose=0, callbacks=[best])
        found.append((best.value, student))
    return max(found, key=lambda one: one[0])[1]


def tasks(found: dict) -> dict[str, tuple[Callable, Callable, list, bool]]:
    """By name: the model of a width, towers, losses, whether it predicts."""
    users, films = (np.unique(found[n]) for n in ("user_id", "movie_title"))
    vocabularies = {
        n: np.unique(found[n]) for n in tutorials.DeepAndCross.FEATURES
    }
    pair = (
        lambda m: lambda x: m.user_model(x["user_id"]),
        lambda m: m.movie_model,
    )
    soft, values = kd.SoftTargets(temperature=2.0), kd.ScoreRegression()
    return {
        "basic retrieval": (
            lambda d: tutorials.BasicRetrieval(users, films, d),
            pair,
            soft,
        ),
        "basic ranking": (
            lambda d: tutorials.BasicRanking(users, films, d),
            None,
            values,
        ),
        "multitask": (
            lambda d: tutorials.MultiTask(users, films, d),
            pair,
            [soft, values],
        ),
        "deep and cross": (
            lambda d: tutorials.DeepAndCross(vocabularies, d),
            None,
            values,
        ),
        "sequential retrieval": (
            lambda d: tutorials.SequentialRetrieval(films, d),
            (
                lambda m: lambda x: m._query_model(x["context_movie_title"]),
                lambda m: m._candidate_model,
            ),
            soft,
        ),
        "context features": (
            lambda d: tutorials.ContextFeatures(
                users, films, found["timestamp"], d
            ),
            (
                lambda m: (
                    lambda x: m.query_model(
                        {n: x[n] for n in ("user_id", "timestamp")}
                    )
                ),
                lambda m: m.candidate_model,
            ),
            soft,
        ),
    }


def measured(name: str, seed: int) -> dict[str, float]:
    """Test metric of the teacher, the student alone and the distilled one."""
    found, (train, validation, test) = columns(seed)
    make, towers, losses = tasks(found)[name]
    if towers is None:
        metrics = [rmse(batches(found, rows)) for rows in (validation, test)]
    else:
        metrics = [recall(*towers, found, r) for r in (validation, test)]
    sign = -1.0 if towers is None else 1.0
    data = batches(found, train)

    def distilled() -> tuple[tf.keras.Model, tf.keras.Model]:
        student = make(_NARROW)
        return kd.Distiller(models["teacher"], student, losses), student

    makers = {
        "teacher": lambda: _twice(make(_WIDE)),
        "alone": lambda: _twice(make(_NARROW)),
        "distilled": distilled,
    }
    models: dict[str, tf.keras.Model] = {}
    for offset, (stage, maker) in enumerate(makers.items()):
        own = 10 * seed + offset
        models[stage] = fitted(maker, data, metrics[0], sign, own)
    return {stage: metrics[1](model) for stage, model in models.items()}


def _twice(model: tf.keras.Model) -> tuple[tf.keras.Model, tf.keras.Model]:
    return model, model


def row(name: str, seeds: list[dict[str, float]]) -> list[str]:
    """A line of the table."""
    cells = [name, "RMSE" if seeds[0]["teacher"] > 0.8 else f"recall@{_K}"]
    for stage in ("teacher", "alone", "distilled"):
        found = mean_and_deviation([values[stage] for values in seeds])
        cells.append(f"{found['mean']:.4f} ({found['deviation']:.4f})")
    test = paired_test_over_seeds(
        [v["alone"] for v in seeds], [v["distilled"] for v in seeds]
    )
    low, high = test.interval
    between = f"{test.difference:+.4f} ({low:+.4f} to {high:+.4f})"
    return [*cells, between, f"{test.t_p_value:.2g}"]


def main(_: list[str]) -> None:
    """Measures, prints, and writes to `--output`."""
    names = FLAGS.models or list(tasks(columns(0)[0]))
    results: dict[str, list[dict[str, float]]] = {}
    for name in names:
        for seed in range(FLAGS.seeds):
            start = time.perf_counter()
            results.setdefault(name, []).append(measured(name, seed))
            print(
                name,
                seed,
                results[name][-1],
                round(time.perf_counter() - start),
                "s",
                flush=True,
            )
    header = ["model", "metric", "teacher", "student alone", "distilled"]
    table = as_markdown(
        [[*header, "difference", "p"], *(row(n, s) for n, s in results.items())]
    )
    print(table)
    if FLAGS.output:
        path = pathlib.Path(FLAGS.output)
        path.with_suffix(".json").write_text(json.dumps(results, indent=1))
        title = "# The six models of the TFRS documentation on MovieLens-100K"
        path.with_suffix(".md").write_text(f"{title}\n\n{table}\n")


if __name__ == "__main__":
    app.run(main)
