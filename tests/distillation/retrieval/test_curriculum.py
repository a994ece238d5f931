"""The stages of a curriculum, against loops, and the scores of a stage."""

import numpy as np
import pytest
import tensorflow as tf

from kd_tfrs.distillation import DistillationTerm, SoftTargets
from kd_tfrs.distillation.retrieval import (
    Distiller,
    EmbeddingTeacher,
    InBatch,
    TeacherTopK,
    TwoTowerTeacher,
    curriculum,
)
from kd_tfrs.distillation.retrieval.candidates.item_side import ItemSide
from kd_tfrs.distillation.retrieval.curriculum import (
    AdvanceCurriculum,
    TrajectoryTeacher,
)
from kd_tfrs.distillation.retrieval.ensemble import EnsembleTeacher
from kd_tfrs.distillation.retrieval.teachers.scores import ScoreTeacher
from kd_tfrs.errors import UserError
from kd_tfrs.testing.retrieval import tiny_world

NUM_QUERIES, NUM_ITEMS, STAGES = 13, 20, 3


@pytest.fixture(scope="module")
def world():
    return tiny_world(NUM_QUERIES - 1, NUM_ITEMS, ids_only=True)


def matrices(seed=0):
    rng = np.random.default_rng(seed)
    shape = (STAGES, NUM_QUERIES, NUM_ITEMS)
    return rng.normal(size=shape).astype(np.float32)


def trajectory(seed=0, **options):
    options = {"k": 8, "depth": 5, **options}
    return TrajectoryTeacher(
        [ScoreTeacher(scores) for scores in matrices(seed)], **options
    )


def gap(listed, ranked):
    """1 - NDCG, by the definition."""
    found = best = 0.0
    for rank, item in enumerate(ranked):
        gain = 2 ** np.exp(-rank / 10) - 1
        best += gain / np.log2(rank + 2)
        if item in listed:
            found += gain / np.log2(list(listed).index(item) + 2)
    return 1 - found / best


def test_every_query_has_the_scores_of_its_stage(world):
    teacher, scores = trajectory(), matrices()
    stages = np.arange(NUM_QUERIES) % STAGES
    teacher.stage.assign(stages)
    own = scores[stages, np.arange(NUM_QUERIES)]
    rows = tf.constant([4, 12, 4, 3])
    np.testing.assert_allclose(
        tf.function(teacher.all_scores)(rows), own[rows.numpy()], rtol=1e-6
    )
    listed, values = tf.function(lambda q: teacher.top_k(q, 8))(rows)
    np.testing.assert_array_equal(listed, np.argsort(-own[rows.numpy()])[:, :8])
    np.testing.assert_allclose(
        values, -np.sort(-own[rows.numpy()])[:, :8], rtol=1e-6
    )
    sampler = TeacherTopK(k=4, num_random=3, num_queries=6)
    batch = world.batch(lambda r, seed: sampler.join(r, seed, teacher))
    for selection in (sampler.select(batch), InBatch().select(batch)):
        users = batch["query_row"].numpy()[selection.query]
        inputs = teacher.batch_scores(batch).scores(selection)
        items = np.broadcast_to(selection.candidate_rows(batch), inputs.shape)
        np.testing.assert_allclose(
            inputs, own[users[:, None], items], rtol=1e-6
        )


@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_queries_advance_as_the_rule_says(monkeypatch, decay):
    monkeypatch.setattr(curriculum, "_BLOCK", 4)
    teacher = trajectory(alpha=1.5, decay=decay)
    ranked = np.argsort(-matrices(), axis=2)[:, :, :5]
    rng = np.random.default_rng(2)
    stage = np.zeros(NUM_QUERIES, int)
    then = np.ones(NUM_QUERIES)
    for round_ in range(5):
        lists = rng.permuted(
            np.tile(np.arange(NUM_ITEMS), (NUM_QUERIES, 1)), axis=1
        )[:, :7]
        # Some students know the next snapshot by heart.
        lists[:4, :5] = ranked[np.minimum(stage[:4] + 1, 2), np.arange(4)]
        mean = teacher.advance(lists)
        for q in range(NUM_QUERIES):
            after = min(stage[q] + 1, STAGES - 1)
            now = gap(lists[q, :5], ranked[after, q])
            if round_ == 0:
                then[q] = now
            elif stage[q] < STAGES - 1 and (
                then[q] > 1.5 * decay**round_ * now or now > then[q]
            ):
                stage[q] += 1
                after = min(stage[q] + 1, STAGES - 1)
                then[q] = gap(lists[q, :5], ranked[after, q])
        np.testing.assert_array_equal(teacher.stage, stage)
        assert mean == pytest.approx(stage[1:].mean())
    assert stage.max() == STAGES - 1


def test_nobody_stays_behind_for_good():
    teacher = trajectory()
    lists = np.tile(np.arange(5), (NUM_QUERIES, 1))
    # 1.05 * 0.995^10 is below 1: from there on all move.
    for _ in range(10):
        teacher.advance(lists)
        assert not np.any(teacher.stage)
    for stage in (1, 2, 2):
        teacher.advance(lists)
        np.testing.assert_array_equal(teacher.stage, [stage] * NUM_QUERIES)


def test_short_lists_have_no_gap_where_they_end(world):
    seen = tf.RaggedTensor.from_tensor(
        tf.tile(tf.range(NUM_ITEMS - 2)[None], [NUM_QUERIES, 1])
    )
    teacher = TrajectoryTeacher(
        [ScoreTeacher(scores, seen=seen) for scores in matrices()], 8, 5
    )
    lists = np.argsort(-matrices()[1][:, -2:], axis=1) + NUM_ITEMS - 2
    lists = np.concatenate([lists, np.zeros((NUM_QUERIES, 3), int)], axis=1)
    teacher.advance(lists)
    np.testing.assert_allclose(teacher.state.gap, 0.0, atol=1e-6)


def test_a_checkpoint_holds_the_stages(tmp_path):
    teacher = trajectory()
    lists = np.tile(np.arange(6), (NUM_QUERIES, 1))
    for _ in range(3):
        teacher.advance(lists)
    path = tf.train.Checkpoint(x=list(teacher.checkpointed)).write(
        str(tmp_path / "c")
    )
    other = trajectory()
    tf.train.Checkpoint(x=list(other.checkpointed)).read(path).assert_consumed()
    np.testing.assert_array_equal(other.stage, teacher.stage)
    np.testing.assert_array_equal(other.state.gap, teacher.state.gap)
    assert int(other.state.rounds) == 3


def test_an_ensemble_of_trajectories_leaves_out_what_is_seen(world):
    seen = world.seen()
    one, two = (
        TrajectoryTeacher(
            [ScoreTeacher(x, seen=seen) for x in matrices(n)], k=8, depth=5
        )
        for n in (0, 1)
    )
    rows, scores = EnsembleTeacher([one, two]).top_k(
        tf.range(1, NUM_QUERIES), NUM_ITEMS
    )
    for user, (row, score) in enumerate(zip(rows, scores, strict=True), 1):
        kept = row.numpy()[np.isfinite(score)]
        assert not np.isin(kept, seen[user].numpy()).any()
        assert len(kept) == NUM_ITEMS - len(seen[user])


@pytest.mark.parametrize("several", [False, True])
def test_a_distillers_checkpoint_holds_the_stages(world, several):
    teacher = trajectory()
    given = EnsembleTeacher([teacher, trajectory(1)]) if several else teacher
    distiller = Distiller(given, world.model(), SoftTargets(), 1.0)
    assert any(x is teacher.state for x in distiller.checkpointed)


@pytest.mark.parametrize("several", [False, True])
def test_training_advances_it_while_batches_flow(world, several):
    teacher = trajectory()
    if several:
        teacher = EnsembleTeacher([teacher, trajectory(1)], list_k=8)
    before = teacher.all_scores(tf.range(NUM_QUERIES)).numpy()
    student = world.model(3)
    distiller = Distiller(
        teacher, student, DistillationTerm(SoftTargets(), TeacherTopK(4, 3, 5))
    )
    distiller.compile("sgd")
    callback = AdvanceCurriculum(
        teacher,
        lambda: TwoTowerTeacher(
            student.query_tower,
            student.candidate_tower,
            world.query_tables,
            world.candidate_tables,
            seen=world.seen(),
        ),
        every=2,
    )
    data = world.batches().dataset(12, join=distiller.join)
    history = distiller.fit(
        data,
        epochs=12,
        steps_per_epoch=world.batches().steps_per_epoch,
        callbacks=[callback],
        verbose=0,
    ).history
    stages = history["curriculum_stage"]
    assert stages[0] == 0.0
    assert stages == sorted(stages)
    assert stages[-1] > 0
    assert np.isfinite(history["loss"]).all()
    after = teacher.all_scores(tf.range(NUM_QUERIES)).numpy()
    assert not np.allclose(before, after)
    # What is joined now is of the new stages.
    batch = world.batch(distiller.join)
    selection = TeacherTopK(4, 3, 5).select(batch)
    np.testing.assert_allclose(
        teacher.batch_scores(batch).scores(selection)[:, :4],
        selection.list_scores,
        atol=1e-5,
    )


def test_wrong_arguments_raise_errors(world):
    scores = [ScoreTeacher(x) for x in matrices()]
    other = EmbeddingTeacher(np.ones((2, 1)), np.ones((3, 1)))
    teacher = trajectory()
    lists = np.zeros((NUM_QUERIES, 4), int)
    for message, make in {
        "two or more teachers": lambda: TrajectoryTeacher(scores[:1]),
        "over the same queries": lambda: TrajectoryTeacher([scores[0], other]),
        "`depth` should be": lambda: TrajectoryTeacher(scores, 4, 5),
        "`alpha` positive": lambda: TrajectoryTeacher(scores, alpha=0.0),
        r"`decay` in \(0, 1\]": lambda: TrajectoryTeacher(scores, decay=1.1),
        "`lists` should be 5 long": lambda: teacher.advance(lists),
        "for each of 13": lambda: teacher.advance(np.zeros((3, 9), int)),
        "or have one": lambda: AdvanceCurriculum(other, lambda: other),
        "`every` should be": lambda: AdvanceCurriculum(teacher, len, 0),
    }.items():
        with pytest.raises(UserError, match=message):
            make()
    sampler = ItemSide(TeacherTopK(3, 0, 4))
    batch = world.batch(lambda r, seed: sampler.join(r, seed, scores[0]))
    with pytest.raises(UserError, match="its stages are the users'"):
        teacher.batch_scores(batch).scores(sampler.select(batch))
