"""Flag files: each makes a configuration, and verified ones the recorded."""

import contextlib
import json
import os

import console
import distill
import pytest
from absl.testing import flagsaver

from kd_tfrs.workflow.options import RENAMED
from kd_tfrs.workflow.ranking.config import RankingConfig
from kd_tfrs.workflow.ranking.experiment import RANKING
from kd_tfrs.workflow.retrieval.config import Config
from kd_tfrs.workflow.retrieval.experiment import RETRIEVAL
from kd_tfrs.workflow.run import Run

ROOT = os.path.dirname(os.path.dirname(distill.__file__))
FILES = sorted(
    f"{kind}/{name}"
    for kind in ("sample", "verified")
    for name in os.listdir(f"{ROOT}/experiments/configs/{kind}")
)
# Retrieval files with results of the same name.
RECORDED = [
    f"verified/{name}.flags"
    for name in (
        "amazon-book",
        "amazon-book-methods",
        "citeulike-full",
        "citeulike-full-catalogue",
        "citeulike-full-lean",
        "citeulike-full-methods",
        "citeulike-full-screening",
        "citeulike-loo",
        "movielens-100k",
        "movielens-100k-methods",
    )
]
RANKERS = [
    "movielens-100k-ranking",
    "movielens-100k-ratings",
    "movielens-100k-ratings-by-time",
    "synthetic-clicks",
    "synthetic-clicks-fresh",
    "synthetic-clicks-longer-steps",
    "synthetic-tasks",
]
# Of the results that were made before a method had defaults of its own, these
# options have the default of `soft_targets`, which is what unset means now.
LEFT_TO_THE_METHOD = {
    "distillation_candidates": ("top_k", "auto"),
    "distillation_temperature": (1.0, None),
    "distillation_num_queries": (256, None),
}
# Where data lie, and how often a latency was measured, change no model.
WITHOUT_EFFECT = {"data_dir", "eval_latency_repeats"}


@pytest.fixture
def parsed(monkeypatch):
    """The configuration that `distill.py --flagfile=...` runs."""
    # Files name the file that they go on from by its path in the repository.
    monkeypatch.chdir(ROOT)

    def parse(name):
        with flagsaver.flagsaver():
            path = f"experiments/configs/{name}"
            distill.FLAGS(["distill.py", f"--flagfile={path}"])
            ranks = distill.FLAGS.task == "ranking"
            return console.config_from_flags(RankingConfig if ranks else Config)

    return parse


def recorded_flags(name):
    """What the results of a flag file say that they were made with."""
    folder = f"{ROOT}/experiments/results/{name}"
    for file in ("metrics.json", "comparison.json", "summary/summary.json"):
        if os.path.exists(f"{folder}/{file}"):
            with open(f"{folder}/{file}") as text:
                flags = json.load(text)["flags"]
            return {RENAMED.get(k, k): v for k, v in flags.items()}
    raise AssertionError(f"no results in {folder}")


@pytest.mark.parametrize("name", FILES)
def test_every_flag_file_makes_a_configuration(name, parsed):
    config = parsed(name)
    kind = Config if config.task == "retrieval" else RankingConfig
    assert kind.from_flat(config.flat()) == config
    # A file that changes nothing was not read.
    assert config != kind()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * ("amazon" in name))
        for name in FILES
        if name.startswith("verified")
    ],
)
def test_every_verified_flag_file_starts_a_run(name, parsed, tmp_path):
    # Up to the first training: data, split, tasks, methods and networks.
    config = parsed(name)
    dataset = config.data.dataset
    folder = f"{os.environ.get('KD_TFRS_DATA_DIR')}/{dataset}"
    if dataset != "synthetic" and not os.path.isdir(folder):
        pytest.skip(f"KD_TFRS_DATA_DIR has no {dataset}")
    task = RETRIEVAL if config.task == "retrieval" else RANKING
    with contextlib.closing(Run(tmp_path, config)) as run:
        task.chain(run).start()


@pytest.mark.parametrize("name", RECORDED)
def test_verified_flags_mean_what_their_results_recorded(name, parsed):
    flags = parsed(name).flat()
    recorded = recorded_flags(name.split("/")[1].removesuffix(".flags"))
    # One sparsity, and no choice of what ships, when results were made.
    recorded["pruning_sparsities"] = [recorded["pruning_sparsities"]]
    recorded["ship"] = "pruned"
    recorded["distillation_tables"] = False
    if flags["dataset"] != "synthetic":
        recorded.pop("num_events")
    differing = {
        option: (value, flags[option])
        for option, value in recorded.items()
        if option not in WITHOUT_EFFECT and flags[option] != value
    }
    for option, pair in LEFT_TO_THE_METHOD.items():
        if differing.get(option) == pair:
            del differing[option]
    assert not differing


@pytest.mark.parametrize("name", RANKERS)
def test_verified_flags_of_rankers_mean_what_was_recorded(name, parsed):
    flags, recorded = (
        parsed(f"verified/{name}.flags").flat(),
        recorded_flags(name),
    )
    # One sparsity, no choice of what ships, and no watch on the log loss.
    recorded["pruning_sparsities"] = [recorded["pruning_sparsities"]]
    recorded |= {"ship": "pruned", "eval_log_loss_rise": 1000}
    differing = {
        option: (value, flags[option])
        for option, value in recorded.items()
        if option not in WITHOUT_EFFECT and flags[option] != value
    }
    assert not differing
