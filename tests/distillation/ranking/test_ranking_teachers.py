"""Teachers of rankers: live, kept by row, several with one voice."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation.ranking import (
    CachedTeacher,
    GatedRankingEnsemble,
    NetworkTeacher,
    RankingEnsemble,
)
from kd_tfrs.distillation.ranking.gate import GateRows, TeacherGate, gate_loss
from kd_tfrs.errors import UserError


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_a_network_gives_its_outputs_and_widths(world):
    model = world.teacher()
    batch = world.batch()
    teacher = NetworkTeacher(model)
    actual = teacher.outputs(batch)
    for name, x in model(batch, training=False).items():
        np.testing.assert_array_equal(actual[name], x)
        assert teacher.width(name) == np.prod(x.shape[1:]), name
    assert teacher.width("embeddings") == 4 * 3
    # The network alone is the same teacher.
    alone = NetworkTeacher(model.network).outputs(batch)
    np.testing.assert_array_equal(alone["hidden_0"], actual["hidden_0"])
    with pytest.raises(UserError, match="hidden_9"):
        teacher.width("hidden_9")
    poorer = {**batch, "features": dict(batch["features"])}
    del poorer["features"]["position"]
    with pytest.raises(UserError, match="position"):
        teacher.outputs(poorer)


def test_any_function_may_teach(world):
    teacher = NetworkTeacher(
        lambda features: {"logits_liked": 2.0 * features["price"]},
        widths={"logits_liked": 1},
    )
    actual = teacher.outputs(world.batch())["logits_liked"]
    np.testing.assert_allclose(actual, 2.0 * world.features["price"])
    with pytest.raises(UserError, match="widths"):
        NetworkTeacher(world.network(), widths={"logits_liked": 1})
    with pytest.raises(UserError, match="function"):
        NetworkTeacher(3)
    with pytest.raises(UserError, match="unknown outputs"):
        NetworkTeacher(lambda features: {}).width("hidden_0")


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_cache_is_equal_by_row_in_memory_and_on_disk(
    world, fixed_teacher, tmp_path, dtype
):
    rng = np.random.default_rng(0)
    teacher = fixed_teacher(
        logits_liked=rng.normal(size=24), hidden_0=rng.normal(size=(24, 2, 3))
    )
    # 24 rows in batches of 7: the last is smaller.
    cached = CachedTeacher.of(
        teacher,
        world.batches(7),
        ["logits_liked", "hidden_0"],
        dtype=dtype,
        progress=False,
    )
    cached.save(tmp_path / "kept")
    loaded = CachedTeacher.load(tmp_path / "kept")
    assert isinstance(loaded.arrays["hidden_0"], np.memmap)
    assert loaded.widths == {"logits_liked": 1, "hidden_0": 6}
    shuffled = next(iter(world.batches(9, seed=3).dataset(1)))
    wanted = teacher.outputs(shuffled)
    for kept in (cached, loaded):
        for compute in (kept.outputs, tf.function(kept.outputs)):
            actual = compute(shuffled)
            for name, x in wanted.items():
                assert actual[name].dtype == tf.float32
                assert actual[name].shape == x.shape
                tolerance = 1e-3 if dtype == "float16" else 0.0
                np.testing.assert_allclose(
                    actual[name], x, rtol=tolerance, atol=tolerance
                )


def test_a_cache_keeps_logits_by_default(world, fixed_teacher):
    teacher = fixed_teacher(
        logits_liked=np.zeros(24),
        logits_clicked=np.ones(24),
        hidden_0=np.zeros((24, 2)),
    )
    cached = CachedTeacher.of(teacher, world.batches(), progress=False)
    assert sorted(cached.widths) == ["logits_clicked", "logits_liked"]
    with pytest.raises(UserError, match="hidden_9"):
        CachedTeacher.of(teacher, world.batches(), ["hidden_9"], progress=False)


def test_another_part_of_the_data_has_its_own_key(world):
    values = np.arange(30, dtype=np.float32)
    cached = CachedTeacher({"logits_liked": values}, row_key="teacher_row")
    places = np.arange(24, dtype=np.int32) + 6
    batches = world.batches(8, extras={"teacher_row": places})
    for batch in batches.dataset(1):
        actual = cached.outputs(batch)["logits_liked"]
        np.testing.assert_array_equal(actual, batch["row"].numpy() + 6.0)
    with pytest.raises(UserError, match="teacher_row"):
        cached.outputs(world.batch())


def test_wrong_caches_raise_errors(world, fixed_teacher, tmp_path):
    with pytest.raises(UserError, match="one value a row"):
        CachedTeacher({"a": np.zeros(2, np.float32), "b": np.zeros(3, "f4")})
    with pytest.raises(UserError, match="float64"):
        CachedTeacher({"a": np.zeros(2)})
    with pytest.raises(UserError, match="No teacher cache"):
        CachedTeacher.load(tmp_path)
    with pytest.raises(UserError, match="int8"):
        CachedTeacher.of(
            fixed_teacher(logits_liked=np.zeros(24)),
            world.batches(),
            dtype="int8",
        )


def test_an_ensemble_is_the_weighted_mean_of_logits(world, fixed_teacher):
    a, b = np.linspace(-1, 1, 24), np.linspace(5, 3, 24)
    members = [
        fixed_teacher(logits_liked=a, hidden_0=np.ones((24, 2))),
        fixed_teacher(logits_liked=b, logits_clicked=a),
    ]
    actual = RankingEnsemble(members, [1.0, 3.0]).outputs(world.batch())
    np.testing.assert_allclose(
        actual["logits_liked"], (a + 3 * b) / 4, rtol=1e-5
    )
    # What one has alone is that one's.
    assert "logits_clicked" not in actual
    np.testing.assert_allclose(actual["teacher_1_logits_clicked"], a, rtol=1e-5)
    np.testing.assert_array_equal(
        actual["teacher_0_hidden_0"], np.ones((24, 2))
    )
    equal = RankingEnsemble(members).outputs(world.batch())["logits_liked"]
    np.testing.assert_allclose(equal, (a + b) / 2, rtol=1e-5)


def test_wrong_ensembles_raise_errors(world, fixed_teacher):
    one = fixed_teacher(logits_liked=np.zeros(24))
    other = fixed_teacher(logits_clicked=np.zeros(24))
    with pytest.raises(UserError, match="two or more"):
        RankingEnsemble([one])
    with pytest.raises(UserError, match="NetworkTeacher"):
        RankingEnsemble([one, world.network()])
    with pytest.raises(UserError, match="in common"):
        RankingEnsemble([one, other]).outputs(world.batch())
    for weights in ([1.0], [-1.0, 2.0], [0.0, 0.0], [np.nan, 1.0]):
        with pytest.raises(UserError, match="weights"):
            RankingEnsemble([one, one], weights)
    with pytest.raises(UserError, match="tasks"):
        GatedRankingEnsemble([one, one], ())


def test_a_gate_mixes_by_the_outputs_of_all(world, fixed_teacher):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 24))
    ensemble = GatedRankingEnsemble(
        [fixed_teacher(logits_liked=a), fixed_teacher(logits_liked=b)],
        (world.liked,),
        features=("price",),
    )
    batch = world.batch()
    before = ensemble.outputs(batch)
    np.testing.assert_allclose(before["gate_liked"], np.full((24, 2), 0.5))
    np.testing.assert_allclose(before["logits_liked"], (a + b) / 2, atol=1e-6)
    kernel, bias = rng.normal(size=(3, 2)), rng.normal(size=2)
    mean, spread = rng.normal(size=3), rng.uniform(1, 2, 3)
    (gate,) = ensemble.checkpointed
    for variable, x in zip(
        (gate.kernel, gate.bias, gate.mean, gate.spread),
        (kernel, bias, mean, spread),
        strict=True,
    ):
        variable.assign(x)
    inputs = np.stack([a, b, world.features["price"]], 1)
    weights = softmax((inputs - mean) / spread @ kernel + bias)
    actual = ensemble.outputs(batch)
    np.testing.assert_allclose(actual["gate_liked"], weights, rtol=1e-4)
    np.testing.assert_allclose(
        actual["logits_liked"], weights[:, 0] * a + weights[:, 1] * b, atol=1e-5
    )
    assert ensemble.width("gate_liked") == 2
    copy = TeacherGate.from_config(gate.get_config())
    assert (copy.num_teachers, copy.name) == (2, gate.name)


def test_the_loss_of_a_gate():
    rng = np.random.default_rng(0)
    gate = softmax(rng.normal(size=(5, 3))).astype(np.float32)
    rows = GateRows(
        np.zeros((5, 1), np.float32),
        rng.normal(size=(5, 3)).astype(np.float32),
        np.array([0, 1, 1, 0, 1], np.float32),
        rng.uniform(1, 2, 5).astype(np.float32),
    )
    mixed = (gate * rows.logits).sum(1)
    w = rows.weight / rows.weight.sum()
    uneven = (gate * np.log(3 * gate)).sum(1).mean()
    entropy = np.logaddexp(0, mixed) - rows.labels * mixed
    np.testing.assert_allclose(
        gate_loss(gate, rows, "binary", 0.5),
        (w * entropy).sum() + 0.5 * uneven,
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        gate_loss(gate, rows, "rating", 0.0),
        (w * (mixed - rows.labels) ** 2).sum(),
        rtol=1e-5,
    )


def test_a_gate_learns_on_labels_which_teacher_to_weight(world, fixed_teacher):
    # Each teacher knows the rating on one side of a price, and is off by 3
    # on the other: their mean is off by 1.5 everywhere.
    truth, cheap = world.labels["rating"], world.features["price"] < 0
    teachers = [
        fixed_teacher(logits_rating=truth + 3.0 * ~cheap),
        fixed_teacher(logits_rating=truth + 3.0 * cheap),
    ]
    ensemble = GatedRankingEnsemble(teachers, (world.rating,), ("price",))
    losses = ensemble.fit_gate(
        world.batches(8),
        epochs=120,
        learning_rate=0.1,
        batch_size=24,
        evenness=0.0,
        progress=False,
    )
    before, after = losses["rating"]
    np.testing.assert_allclose(before, 1.5**2, rtol=1e-4)
    assert after < 0.3
    actual = ensemble.outputs(world.batch())
    gate = actual["gate_rating"].numpy()
    assert ((gate[:, 0] > 0.5) == cheap).mean() > 0.9
    # The members ran over every row once, when the gate was trained.
    assert teachers[0].num_calls <= 3


def test_a_gate_needs_labels(world, fixed_teacher):
    silent = fixed_teacher(logits_liked=np.full(24, np.nan))
    ensemble = GatedRankingEnsemble([silent, silent], (world.liked,))
    with pytest.raises(UserError, match="to learn from"):
        ensemble.fit_gate(world.batches(), progress=False)
    with pytest.raises(UserError, match="epochs"):
        ensemble.fit_gate(world.batches(), epochs=0, progress=False)
    blind = GatedRankingEnsemble([silent, silent], (world.liked,), ("size",))
    with pytest.raises(UserError, match="size"):
        blind.outputs(world.batch())


def test_a_gate_learns_from_rows_with_all_values():
    # Of each of the first four rows one thing is missing.
    inputs, answers = np.ones((2, 6, 2), np.float32)
    labels, weight = np.ones((2, 6), np.float32)
    inputs[0, 1] = answers[1, 0] = labels[2] = np.nan
    weight[3] = 0.0
    rows = GateRows(inputs, answers, labels, weight).labelled()
    assert [len(x) for x in rows] == [2] * 4
    assert all(np.isfinite(x).all() for x in rows)


def test_a_gate_takes_a_constant_input_for_zero():
    gate = TeacherGate(2)
    gate.build((None, 2))
    gate.standardise(np.array([[3, 1], [3, 5]], np.float32))
    # The mean is 3 and the deviation 2 in the second column.
    np.testing.assert_allclose(gate.mean, [3, 3])
    np.testing.assert_allclose(gate.spread, [1, 2])


def test_gates_of_several_tasks_use_the_outputs_of_all(world, fixed_teacher):
    rng = np.random.default_rng(0)
    liked, clicked = rng.normal(size=(2, 2, 24))
    teachers = [
        fixed_teacher(logits_liked=a, logits_clicked=b)
        for a, b in zip(liked, clicked, strict=True)
    ]
    tasks = (world.liked, world.clicked)
    ensemble = GatedRankingEnsemble(teachers, tasks)
    kernel = rng.normal(size=(4, 2))
    for gate in ensemble.checkpointed:
        gate.kernel.assign(kernel)
    outputs = ensemble.outputs(world.batch())
    weights = softmax(np.stack([*liked, *clicked], 1) @ kernel)
    for name, answers in (("liked", liked), ("clicked", clicked)):
        np.testing.assert_allclose(
            outputs[f"logits_{name}"], (weights * answers.T).sum(1), atol=1e-5
        )
