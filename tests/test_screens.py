"""What a console prints for data, teachers and models fits on a screen."""

import numpy as np
import pytest

import kd_tfrs as kd
from kd_tfrs.data.ranking.batches import RankingBatches
from kd_tfrs.distillation.ranking import NetworkTeacher
from kd_tfrs.testing.ranking import tiny_ranking
from kd_tfrs.testing.retrieval import tiny_world

LINES, WIDTH = 25, 80


@pytest.fixture(scope="module")
def objects():
    world, ranking = tiny_world(60, 70), tiny_ranking()
    catalogue = world.catalogue
    teacher = kd.EmbeddingTeacher(
        np.ones((catalogue.num_users + 1, 3), np.float32),
        np.ones((catalogue.num_items, 3), np.float32),
    )
    model, ranker = world.model(3), ranking.model("dcn")
    train = ranking.examples.train
    batches = RankingBatches(
        ranking.features.encode(train.table), train.labels, batch_size=16
    )
    distiller = kd.Distiller(teacher, model, kd.SoftTargets(2.0))
    return {
        "interactions": world.interactions,
        "schema": world.interactions.schema,
        "catalogue": catalogue,
        "split": ranking.split,
        "examples": ranking.examples,
        "features": world.query,
        "batches": world.batches(),
        "ranking batches": batches,
        "loss": kd.SoftTargets(2.0),
        "list of a loss": kd.DistillationTerm(kd.Hint()),
        "teacher": teacher,
        "ranking teacher": NetworkTeacher(ranker),
        "model": model,
        "ranker": ranker,
        "distiller": distiller,
    }


def test_a_repr_fits_a_screen(objects):
    for name, one in objects.items():
        shown = repr(one)
        lines = sum(-(-len(x) // WIDTH) or 1 for x in shown.splitlines())
        assert lines <= LINES, name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("interactions", ["60 users", "70 items", "user_id (user id)"]),
        ("catalogue", ["60 users by user_id", "row 0 is the unknown user"]),
        ("batches", ["RetrievalBatches", "steps of 8"]),
        ("teacher", ["EmbeddingTeacher(61 queries, 70 candidates)"]),
        ("ranking teacher", ["NetworkTeacher", "logits_liked"]),
        ("loss", ["SoftTargets(temperature=2.0)"]),
        ("split", ["to train", "to test"]),
    ],
)
def test_a_repr_tells_what_matters(objects, name, words):
    shown = repr(objects[name])
    for word in words:
        assert word in shown


@pytest.mark.parametrize("name", ["model", "ranker", "distiller"])
def test_a_summary_fits_a_screen(objects, name):
    printed = []
    objects[name].summary(print_fn=printed.append)
    text = "\n".join(printed)
    assert len(text.splitlines()) <= LINES
    weights = objects[name].count_params()
    assert f"Total params: {weights}" in text
