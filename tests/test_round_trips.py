"""Every registered object comes back from its configuration and its file.

`CASES` has one entry for each class that kd_tfrs registers with Keras, made
with arguments that differ from the defaults. A class without a case fails.
"""

import importlib
import inspect
import json
import pkgutil

import numpy as np
import pytest
import tensorflow as tf

import kd_tfrs
from kd_tfrs.distillation import losses
from kd_tfrs.distillation.losses.curriculum_temperature import (
    LearnedTemperature,
)
from kd_tfrs.distillation.losses.orthogonal import OrthogonalProjection
from kd_tfrs.distillation.ranking.gate import TeacherGate
from kd_tfrs.export.ranking.stored_layers import (
    StoredDense,
    StoredEmbedding,
)
from kd_tfrs.models import LazyAdam
from kd_tfrs.models.features import _SplitLookup
from kd_tfrs.models.layers import CheckpointedDropout, MaskedMean
from kd_tfrs.models.ranking.activations import Dice
from kd_tfrs.models.ranking.fields import NumberColumn
from kd_tfrs.models.ranking.heads import ExpertMixture, TakeColumn
from kd_tfrs.models.ranking.linear import CrossedIds
from kd_tfrs.models.ranking.networks.autoint import FieldAttention
from kd_tfrs.models.ranking.networks.deepfm import PairwiseProducts, RowSum
from kd_tfrs.models.ranking.networks.din import TargetPairs, WeightedHistory
from kd_tfrs.models.ranking.networks.dlrm import FieldDots

PACKAGE = "kd_tfrs>"
RNG = np.random.default_rng(0)
SUM = tf.keras.losses.Reduction.SUM
SCHEDULE = tf.keras.optimizers.schedules.PolynomialDecay(8.0, 10, 2.0)
# What every loss takes beside its own arguments.
COMMON = {"reduction": SUM, "name": "other"}
Adam = tf.keras.optimizers.legacy.Adam


def all_modules():
    for module in pkgutil.walk_packages(kd_tfrs.__path__, "kd_tfrs."):
        importlib.import_module(module.name)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


# Arguments of every loss between scores.
SCORE_LOSSES = {
    "AdaptedSoftTargets": {"temperature": 3.0, "hidden_units": [5]},
    "AdversarialSoftTargets": {"epsilon": 0.3, "temperature": 3.0},
    "BinarySoftTargets": {"temperature": SCHEDULE},
    "CalibratedSoftTargets": {"temperature": 2.0, "initial_offset": -1.5},
    "ConfidenceWeighted": {
        "loss": lambda: losses.SoftTargets(4.0),
        "temperature": 3.0,
    },
    "CorrelationLoss": {"beta": 2.0, "gamma": 0.5, "temperature": 3.0},
    "CurriculumTemperature": {
        "curriculum_steps": 7,
        "t_start": 2.0,
        "t_range": 5.0,
        "layer_optimizer": lambda: Adam(0.25),
    },
    "DecoupledSoftTargets": {"alpha": 2.0, "beta": 0.5, "temperature": 3.0},
    "DualCorrection": {
        "num_candidates": 9,
        "num_corrected": 3,
        "sharpness": 0.7,
    },
    "EasyToHard": {"hard_from_step": 3},
    "GapWeighted": {
        "loss": lambda: losses.JensenShannon(0.2),
        "focus": 2.0,
        "temperature": 3.0,
    },
    "GatedSoftTargets": {
        "num_teachers": 2,
        "evenness": 0.4,
        "temperature": 3.0,
    },
    "ImportanceWeightedRanking": {
        "num_candidates": 9,
        "position_weight": 0.7,
        "confidence_weight": 0.2,
        "consistency_weight": 0.3,
        "rank_decay": 3.0,
    },
    "JensenShannon": {"beta": 0.2, "temperature": SCHEDULE},
    "LambdaDistill": {},
    "MarginMSE": {},
    "RankNetDistillation": {"num_partners": 2, "temperature": 3.0, "seed": 5},
    "RankingDistillation": {
        "num_candidates": 9,
        "rank_decay": 3.0,
        "sharpness": 0.7,
        "warm_up_steps": 2,
        "renormalize": False,
    },
    "RejuvenatedCrossEntropy": {
        "temperature": 3.0,
        "num_closing": 2,
        "decay": 3.0,
        "max_count": 4,
        "beta": 2.0,
    },
    "RelaxedRanking": {},
    "ScoreRegression": {},
    "SoftLabelLikelihood": {},
    "SoftTargets": {"temperature": SCHEDULE},
    "TeacherHardLabel": {},
    "UnbiasedPairs": {
        "groups": [0, 1, 0, 1, 0, 1, 0, 1, 0],
        "pairs_per_group": 3,
        "rank_decay": 4.0,
    },
}
FEATURE_LOSSES = {
    "AttentionTransfer": {"kind": "weights", "power": 3.0},
    "ContrastiveRepresentation": {"width": 5, "temperature": 0.3},
    "CorrelationCongruence": {"gamma": 0.7, "order": 3},
    "DistillationExperts": {
        "num_experts": 3,
        "annealing_steps": 9,
        "initial_temperature": 2.0,
        "final_temperature": 0.5,
        "seed": 4,
    },
    "FeatureDiscriminator": {
        "hidden_units": [5, 3],
        "projection_units": [6],
        "adversary_optimizer": lambda: Adam(0.25),
    },
    "FrequencyHint": {
        "neighbours": [[0, 1], [1], [2], [0, 2], [1, 2], [0], [1], [2], [0]],
        "alpha": 0.7,
        "hidden_units": [5],
        "normalize": False,
    },
    "FullTopology": {},
    "HierarchicalTopology": {
        "num_groups": 3,
        "level": "prototypes",
        "assignment_weight": 0.5,
        "assignment_rows": 4,
        "annealing_steps": 9,
        "initial_temperature": 2.0,
        "final_temperature": 0.5,
        "seed": 5,
    },
    "Hint": {"hidden_units": [5], "normalize": True},
    "NeuronSelectivity": {"power": 1, "constant": 0.5},
    "OrthogonalHint": {},
    "PreferenceConsistentHint": {
        "alpha": 0.7,
        "kind": "pair",
        "temperature": 0.3,
        "hidden_units": [5],
    },
    "ProbabilisticTransfer": {},
    "RelationalAngle": {"num_anchors": 3},
    "RelationalDistance": {"num_anchors": 3},
    "SimilarityPreserving": {},
    "VariationalInformation": {"hidden_units": [5], "initial_variance": 2.0},
}
# Layers with arguments, and their inputs.
LAYERS = {
    "CheckpointedDropout": (
        lambda: CheckpointedDropout(0.3, seed=4, noise_shape=(None, 1)),
        lambda: normal(2, 3),
    ),
    "CrossedIds": (
        lambda: CrossedIds((4, 5), max_rows=7),
        lambda: [np.array([0, 3]), np.array([4, 2])],
    ),
    "Dice": (lambda: Dice(momentum=0.5, epsilon=0.1), lambda: normal(4, 3)),
    "ExpertMixture": (
        ExpertMixture,
        lambda: [normal(2, 2), normal(2, 3), normal(2, 3)],
    ),
    "FieldAttention": (
        lambda: FieldAttention(heads=4),
        lambda: [normal(2, 3, 8) for _ in range(3)],
    ),
    "FieldDots": (
        lambda: FieldDots(self_interaction=True),
        lambda: [normal(2, 3) for _ in range(3)],
    ),
    "LearnedTemperature": (
        lambda: LearnedTemperature(2.0, 5.0, name="other"),
        lambda: np.float32(0.5),
    ),
    "MaskedMean": (
        MaskedMean,
        lambda: [normal(2, 3, 4), np.array([[1, 2, 0], [0, 0, 0]])],
    ),
    "NumberColumn": (lambda: NumberColumn(0.5), lambda: normal(4)),
    "OrthogonalProjection": (
        lambda: OrthogonalProjection(5),
        lambda: normal(4, 3),
    ),
    "PairwiseProducts": (PairwiseProducts, lambda: normal(2, 3, 4)),
    "RowSum": (RowSum, lambda: normal(2, 3)),
    "TakeColumn": (lambda: TakeColumn(2), lambda: normal(2, 3)),
    "TargetPairs": (TargetPairs, lambda: [normal(2, 3, 4), normal(2, 4)]),
    "TeacherGate": (lambda: TeacherGate(3), lambda: normal(2, 5)),
    "WeightedHistory": (
        lambda: WeightedHistory(softmax=True),
        lambda: [normal(2, 3, 1), normal(2, 3, 4), np.array([[1, 2, 0]] * 2)],
    ),
}
# Each with a test of its own below, or in the file named.
ELSEWHERE = {
    "Int8Embedding",
    "LazyAdam",
    "RankingModel",  # tests/models/test_save_and_load.py
    "RetrievalModel",  # tests/models/test_save_and_load.py
    "_SplitLookup",
}


def registered():
    """Classes by name; those of kd_tfrs alone."""
    all_modules()
    objects = tf.keras.utils.get_custom_objects()
    return {
        name.removeprefix(PACKAGE): value
        for name, value in objects.items()
        if name.startswith(PACKAGE) and value.__module__.startswith("kd_tfrs.")
    }


def test_every_registered_class_has_a_case():
    cases = {*SCORE_LOSSES, *FEATURE_LOSSES, *LAYERS, *ELSEWHERE}
    assert set(registered()) == cases


def made(name, arguments):
    # Objects that are made anew for each test are given as functions.
    given = {
        n: v() if inspect.isfunction(v) else v for n, v in arguments.items()
    }
    kind = registered()[name]
    defaults = inspect.signature(kind).parameters
    for argument, parameter in defaults.items():
        if parameter.kind is not parameter.VAR_KEYWORD:
            assert (argument in given) or argument in COMMON, argument
    for argument, value in given.items():
        assert value != defaults[argument].default
    return kind(**given, **COMMON)


def through_json(instance):
    """Serialised by Keras, written as text, and made again."""
    config = tf.keras.saving.serialize_keras_object(instance)
    again = tf.keras.saving.deserialize_keras_object(
        json.loads(json.dumps(config))
    )
    assert type(again) is type(instance)
    assert plain(again.get_config()) == plain(instance.get_config())
    return again


def plain(config):
    return json.loads(json.dumps(config, default=str))


def copy_weights(source, target):
    """The weights of the layers of a loss."""
    for attribute in ("trainable_layers", "adversaries"):
        pairs = zip(
            getattr(source, attribute), getattr(target, attribute), strict=True
        )
        for one, other in pairs:
            other.set_weights(one.get_weights())


def score_inputs():
    rng = np.random.default_rng(1)
    rows, width = 6, 9
    teacher = np.sort(rng.normal(size=(rows, width)))[:, ::-1]
    return {
        "y_true": np.float32(teacher),
        "y_pred": np.float32(rng.normal(size=(rows, width))),
        "sample_weight": np.float32(rng.random(rows)),
        "mask": tf.constant(np.arange(width) < 8),
        "target": tf.one_hot([0, 1, 2, 3, 4, 5], width) > 0,
        "rows": tf.range(width),
        "each": tf.constant(rng.normal(size=(rows, width, 2)), tf.float32),
        "labels": tf.constant(rng.random((rows, width)) > 0.5, tf.float32),
        "listed": 4,
        "step": 5,
    }


@pytest.mark.parametrize("name", SCORE_LOSSES)
def test_a_loss_between_scores_comes_back(name):
    loss = made(name, SCORE_LOSSES[name])
    again = through_json(loss)
    copy_weights(loss, again)
    inputs = score_inputs()
    value = loss(**inputs).numpy()
    np.testing.assert_array_equal(again(**inputs), value)
    assert np.isfinite(value)
    assert value != 0
    if loss.layer_optimizer is not None:
        assert same_config(loss.layer_optimizer, again.layer_optimizer)


@pytest.mark.parametrize("name", FEATURE_LOSSES)
def test_a_loss_between_features_comes_back(name):
    loss = made(name, FEATURE_LOSSES[name])
    again = through_json(loss)
    rng = np.random.default_rng(1)
    teacher, student = (
        np.float32(rng.normal(size=(6, width))) for width in (7, 7)
    )
    for one in (loss, again):
        one.ensure_built(7, 7)
    copy_weights(loss, again)
    if name == "AttentionTransfer":
        # Attention weights: heads and positions beside the rows.
        teacher, student = (
            np.float32(rng.random((6, 2, 7, 7))) for _ in range(2)
        )
    inputs = {
        "sample_weight": np.float32(rng.random(6)),
        "mask": tf.constant([True] * 5 + [False]),
        "rows": tf.range(6),
        "step": 5,
    }
    if name == "PreferenceConsistentHint":
        # A user and its items beside the rows.
        teacher, student = (
            np.float32(rng.normal(size=(6, 4, 7))) for _ in range(2)
        )
        inputs["mask"] = tf.constant([[True] * 4] * 5 + [[False] * 4])
    value = loss(teacher, student, **inputs).numpy()
    np.testing.assert_array_equal(again(teacher, student, **inputs), value)
    assert np.isfinite(value)
    assert value != 0
    if loss.adversaries:
        assert same_config(loss.adversary_optimizer, again.adversary_optimizer)


def same_config(one, other):
    return plain(one.get_config()) == plain(other.get_config())


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_comes_back(name):
    make, inputs = LAYERS[name]
    layer, given = make(), inputs()
    own = [
        p
        for p in inspect.signature(type(layer)).parameters.values()
        if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    config = layer.get_config()
    assert all(config[p.name] != p.default for p in own)
    value = layer(given)
    again = through_json(layer)
    again(given)
    for weight in layer.weights:
        weight.assign(weight + 0.25)
    value = layer(given)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(given), value)


@pytest.mark.parametrize("name", sorted(set(LAYERS) - {"LearnedTemperature"}))
@pytest.mark.parametrize("file", ["model.keras", "saved_model", "model.h5"])
def test_a_model_with_the_layer_comes_back_from_its_file(name, file, tmp_path):
    make, inputs = LAYERS[name]
    given = inputs()
    specs = tf.nest.map_structure(
        lambda x: tf.keras.Input(np.shape(x)[1:], dtype=np.asarray(x).dtype),
        given,
    )
    model = tf.keras.Model(specs, make()(specs))
    for weight in model.weights:
        weight.assign(weight + 0.25)
    model.save(tmp_path / file)
    loaded = tf.keras.models.load_model(tmp_path / file)
    assert type(loaded.layers[-1]) is type(model.layers[-1])
    np.testing.assert_array_equal(loaded(given), model(given))


def test_a_lookup_of_lists_comes_back():
    # Its vocabulary is a weight, as that of Keras's lookups.
    layer = _SplitLookup("; ", 3)
    layer.adapt(tf.constant(["a; b", "b; c", "b"]))
    again = through_json(layer)
    again.adapt(tf.constant(["a; b", "b; c", "b"]))
    values = tf.constant(["c; b", "d", ""])
    assert again(values).to_list() == layer(values).to_list()


def test_an_int8_table_comes_back(tmp_path):
    from kd_tfrs.compression.quantization import Int8Embedding

    ids = tf.keras.Input((), dtype=tf.int32)
    layer = Int8Embedding.of(normal(5, 3), name="table")
    model = tf.keras.Model(ids, layer(ids))
    assert through_json(layer).input_dim == 5
    rows = tf.range(5)
    for file in ("model.keras", "saved_model", "model.h5"):
        model.save(tmp_path / file)
        loaded = tf.keras.models.load_model(tmp_path / file)
        np.testing.assert_array_equal(loaded(rows), model(rows))


def test_an_optimizer_comes_back():
    optimizer = LazyAdam(SCHEDULE, 0.5, 0.8, 0.1, "other", clipnorm=0.7)
    again = tf.keras.optimizers.deserialize(
        json.loads(json.dumps(tf.keras.optimizers.serialize(optimizer)))
    )
    assert type(again) is LazyAdam
    assert same_config(optimizer, again)
    tables = [tf.Variable(normal(4, 2)) for _ in range(2)]
    tables[1].assign(tables[0])
    for _ in range(3):
        for table, one in zip(tables, (optimizer, again), strict=True):
            with tf.GradientTape() as tape:
                value = tf.reduce_sum(tf.gather(table, [1, 3]) ** 2)
            one.minimize(value, [table], tape=tape)
    np.testing.assert_array_equal(*tables)


def test_a_schedule_is_kept_as_keras_keeps_it():
    loss = through_json(losses.SoftTargets(SCHEDULE))
    steps = (0, 3, 20)
    assert [float(loss.temperature(s)) for s in steps] == [
        float(SCHEDULE(s)) for s in steps
    ]


@pytest.mark.parametrize("kind", [StoredDense, StoredEmbedding])
def test_a_layer_of_an_export_is_refused_without_its_table(kind):
    with pytest.raises(kd_tfrs.UserError, match="stored in a SavedModel"):
        kind.from_config({"name": "table"})
