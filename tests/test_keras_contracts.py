"""What Keras promises of `compile`, `fit` and weights, for every distiller."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs

import kd_tfrs as kd
from kd_tfrs.data.ranking.batches import RankingBatches
from kd_tfrs.distillation.ranking import NetworkTeacher
from kd_tfrs.distillation.retrieval import FeaturePair
from kd_tfrs.models.ranking import RankingTask
from kd_tfrs.testing.ranking import tiny_ranking
from kd_tfrs.testing.retrieval import tiny_world

SGD = tf.keras.optimizers.legacy.SGD
RETRIEVAL, RANKING = tiny_world(ids_only=True), tiny_ranking()


def retrieval():
    catalogue = RETRIEVAL.catalogue
    rng = np.random.default_rng(0)
    sizes = (catalogue.num_users + 1, catalogue.num_items)
    tables = (rng.normal(size=(n, 4)).astype(np.float32) for n in sizes)
    losses = [
        kd.SoftTargets(2.0),
        kd.DistillationTerm(kd.Hint(), FeaturePair("candidate")),
    ]
    teacher = kd.EmbeddingTeacher(*tables)
    distiller = kd.Distiller(teacher, RETRIEVAL.model(3), losses)
    return distiller, RETRIEVAL.batches(8).dataset(1)


def ranking():
    train = RANKING.examples.train
    features = RANKING.features.encode(train.table)
    features["history"] = np.ones(train.history.shape, np.int32)
    batches = RankingBatches(features, train.labels, batch_size=16)
    big, small = (
        RANKING.model("dnn", tasks=(RankingTask("liked"),), seed=seed)
        for seed in (1, 2)
    )
    teacher = NetworkTeacher(big)
    distiller = kd.Distiller(teacher, small, kd.BinarySoftTargets(2.0))
    return distiller, batches.dataset(1)


class Towers(tfrs.Model):
    """As the TFRS documentation writes it, of numbers."""

    def __init__(self, dim):
        super().__init__()
        self.users = tf.keras.layers.Embedding(9, dim)
        self.items = tf.keras.layers.Embedding(9, dim)
        self.task = tfrs.tasks.Retrieval()

    def compute_loss(self, features, training=False):
        return self.task(
            self.users(features["user"]), self.items(features["item"])
        )


def tfrs_model():
    rows = {"user": np.arange(8), "item": np.arange(8)[::-1].copy()}
    data = tf.data.Dataset.from_tensor_slices(rows).batch(
        4, drop_remainder=True
    )
    batch = next(iter(data))
    models = [Towers(dim) for dim in (4, 2)]
    for model in models:
        model.compute_loss(batch)
        model.set_weights([20.0 * w for w in model.get_weights()])
    losses = [
        kd.SoftTargets(2.0),
        kd.DistillationTerm(kd.Hint(), kd.TaskEmbeddings("query")),
    ]
    distiller = kd.Distiller(*models, losses)
    # Only data tell the widths of the hint.
    distiller.check(batch)
    return distiller, data


MAKERS = {"retrieval": retrieval, "ranking": ranking, "tfrs": tfrs_model}


@pytest.fixture(params=MAKERS)
def make(request):
    def made(optimizer=None, **options):
        tf.keras.utils.set_random_seed(4)
        distiller, data = MAKERS[request.param]()
        distiller.compile(optimizer or SGD(0.01), **options)
        return distiller, data

    return made


def weights(distiller):
    return [w.numpy() for w in distiller.trainable_variables]


def assert_same(one, other, **tolerance):
    for mine, its in zip(weights(one), weights(other), strict=True):
        np.testing.assert_allclose(mine, its, **tolerance)


def test_the_options_of_compile_train_the_same(make):
    eager, data = make(run_eagerly=True)
    before = weights(eager)
    eager.fit(data.take(2), verbose=0)
    pairs = zip(before, weights(eager), strict=True)
    assert any((old != new).any() for old, new in pairs)
    for options in ({"steps_per_execution": 2}, {"jit_compile": True}):
        other, data = make(**options)
        other.fit(data.take(2), verbose=0)
        assert_same(eager, other, rtol=1e-4, atol=1e-5)


def test_weights_and_checkpoints_go_on_where_they_stopped(make, tmp_path):
    adagrad = tf.keras.optimizers.legacy.Adagrad
    distiller, data = make(adagrad(0.1), run_eagerly=True)
    data = data.take(2)
    distiller.fit(data, verbose=0)
    distiller.save_weights(tmp_path / "weights.h5")
    path = tf.train.Checkpoint(model=distiller).save(tmp_path / "checkpoint")
    fresh, _ = make()
    fresh.load_weights(tmp_path / "weights.h5")
    assert_same(fresh, distiller)
    again, _ = make(adagrad(0.1), run_eagerly=True)
    tf.train.Checkpoint(model=again).restore(path)
    assert_same(again, distiller)
    # With the optimizer's state, the next epoch is the same.
    for one in (distiller, again):
        one.fit(data, verbose=0)
    assert_same(again, distiller, rtol=1e-6)


def test_the_callbacks_of_keras(make, tmp_path):
    distiller, data = make(run_eagerly=True)
    steps = 1
    callbacks = [
        tf.keras.callbacks.EarlyStopping("val_loss", 1, patience=1),
        tf.keras.callbacks.ModelCheckpoint(
            tmp_path / "{epoch}.h5", save_weights_only=True
        ),
        tf.keras.callbacks.BackupAndRestore(
            tmp_path / "backup", delete_checkpoint=False
        ),
        tf.keras.callbacks.TensorBoard(tmp_path / "board"),
    ]
    history = distiller.fit(
        data.repeat(),
        epochs=5,
        steps_per_epoch=steps,
        validation_data=data.take(1),
        callbacks=callbacks,
        verbose=0,
    )
    # No epoch improves by 1, so that the second is the last.
    assert len(history.history["val_loss"]) == 2
    assert {f"{n}.h5" for n in (1, 2)} <= {x.name for x in tmp_path.iterdir()}
    assert list((tmp_path / "board").rglob("events*"))
    again, _ = make(run_eagerly=True)
    again.fit(
        data.repeat(),
        epochs=2,
        steps_per_epoch=steps,
        callbacks=[callbacks[2]],
        verbose=0,
    )
    # Both epochs were trained before: only the backup is read.
    assert_same(again, distiller)


def test_losses_of_float16_are_scaled(make):
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        distiller, data = make(run_eagerly=True)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    scaling = tf.keras.mixed_precision.LossScaleOptimizer
    assert isinstance(distiller.optimizer, scaling)
    assert distiller.optimizer.loss_scale > 1
    for layer in distiller.loss_layers:
        assert {w.dtype for w in layer.weights} == {tf.float32}
    history = distiller.fit(data.take(2), verbose=0).history
    assert all(np.isfinite(x).all() for x in history.values())


def test_a_student_of_float16_scales_its_losses_in_any_policy():
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    student = RETRIEVAL.model(3)
    tf.keras.mixed_precision.set_global_policy("float32")
    teacher = retrieval()[0].teacher
    distiller = kd.Distiller(teacher, student, kd.SoftTargets(2.0))
    distiller.compile(SGD(0.01))
    scaling = tf.keras.mixed_precision.LossScaleOptimizer
    assert isinstance(distiller.optimizer, scaling)


def test_metrics_of_retrieval_compare_events_and_scores():
    distiller, data = retrieval()
    distiller.compile(
        SGD(0.01),
        metrics=[tf.keras.metrics.MeanAbsoluteError(name="mae")],
        weighted_metrics=[tf.keras.metrics.CategoricalAccuracy(name="top")],
    )
    logs = distiller.evaluate(data, return_dict=True, verbose=0)
    hits, total, errors = 0.0, 0.0, []
    for batch in data:
        outputs = distiller.student(batch)
        users, items = (
            outputs[side]["embedding"].numpy()[:8]
            for side in ("query", "candidate")
        )
        scores = users @ items.T / distiller.student.temperature
        rows = batch["candidate_row"].numpy()[:8]
        own = rows[:, None] == rows[None, :]
        first = np.array([r not in rows[:i] for i, r in enumerate(rows)])
        # Another copy of an item is behind all others, but for its own row.
        lowest = scores.min(axis=1, keepdims=True) - 1
        scores = np.where(first[None, :] | own, scores, lowest)
        weight = batch["event_weight"].numpy()
        right = own.argmax(axis=1) == scores.argmax(axis=1)
        hits, total = hits + (weight * right).sum(), total + weight.sum()
        errors.append(np.abs(own - scores).mean())
    np.testing.assert_allclose(logs["top"], hits / total, rtol=1e-5)
    np.testing.assert_allclose(logs["mae"], np.mean(errors), rtol=1e-4)


def test_metrics_of_ranking_compare_labels_and_probabilities():
    distiller, data = ranking()
    distiller.compile(
        SGD(0.01), weighted_metrics=[tf.keras.metrics.MeanSquaredError("mse")]
    )
    logs = distiller.evaluate(data, return_dict=True, verbose=0)
    errors, weight = [], []
    for batch in data:
        outputs = distiller.student(batch)
        predicted = distiller.student.predictions(outputs)["liked"].numpy()
        labels = batch["labels"]["liked"].numpy()
        known = np.isfinite(labels)
        errors.append((labels - predicted)[known] ** 2)
        weight.append(batch["weight"].numpy()[known])
    wanted = np.average(np.concatenate(errors), weights=np.concatenate(weight))
    np.testing.assert_allclose(logs["mse"], wanted, rtol=1e-5)


def test_what_xla_lacks_ends_in_one_line():
    distiller, data = retrieval()
    optimizer = tf.keras.optimizers.legacy.Adagrad(0.1)
    distiller.compile(optimizer, jit_compile=True)
    with pytest.raises(kd.UserError) as error:
        distiller.fit(data, verbose=0)
    assert "ResourceSparseApplyAdagrad" in str(error.value)
    assert "take LazyAdam" in str(error.value)


def test_weights_before_their_layers_are_refused(tmp_path):
    distiller, _ = tfrs_model()
    distiller.save_weights(tmp_path / "weights.h5")
    losses = kd.DistillationTerm(kd.Hint(), kd.TaskEmbeddings("query"))
    fresh = kd.Distiller(distiller.teacher, distiller.student, losses)
    with pytest.raises(kd.UserError, match=r"distiller\.check\(batch\)"):
        fresh.load_weights(tmp_path / "weights.h5")


def test_a_tfrs_student_without_call_does_not_predict():
    distiller, data = tfrs_model()
    with pytest.raises(kd.UserError, match="Towers with `compute_loss`"):
        distiller.predict(data)
