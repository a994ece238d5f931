r"""Writes the tables of all methods, and how many there are.

    python experiments/methods.py \
        --screening=experiments/results/citeulike-full-screening/comparison.json

writes the tables of kd_tfrs/distillation/README.md and of its ranking/
README.md, and the number of methods in README.md. Without --screening, the
figures that a table has are kept.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

sys.path.insert(0, os.path.dirname(__file__))
import console

from kd_tfrs.errors import UserError

if TYPE_CHECKING:
    from kd_tfrs.distillation import DistillationTerm
    from kd_tfrs.workflow.methods import Method

FLAGS = flags.FLAGS
ROOT = Path(__file__).parents[1]
LOSSES = ROOT / "kd_tfrs" / "distillation" / "losses"
PAGES = {
    "retrieval": LOSSES.with_name("README.md"),
    "ranking": LOSSES.with_name("ranking") / "README.md",
}
# Validation metrics of a screening, and their titles.
METRICS = {"ndcg@20": "NDCG@20", "recall@50": "Recall@50"}
# These follow from data and length of a run.
_OF_THE_RUN = (
    "annealing_steps",
    "curriculum_steps",
    "hard_from_step",
    "initial_offset",
    "num_candidates",
    "num_teachers",
    "seed",
)
_PLURALS = {"query": "users", "candidate": "items"}
_TABLE = re.compile(r"(<!-- methods -->\n)(.*?)(<!-- end -->)", re.S)
_COUNT = re.compile(r"\d+(?= methods of distillation)")
flags.DEFINE_string(
    "screening", None, "A comparison.json whose figures are shown."
)


def _methods(task: str) -> dict[str, tuple[Method, list[DistillationTerm]]]:
    """The methods of a task with their terms by their own defaults."""
    with console.quiet_imports():
        from kd_tfrs.workflow.ranking import methods as ranking
        from kd_tfrs.workflow.retrieval import methods as retrieval

        known, terms = retrieval.METHODS, retrieval.documented_terms
        if task == "ranking":
            known, terms = ranking.RANKING_METHODS, ranking.documented_terms
        return {name: (method, terms(name)) for name, method in known.items()}


def _table(task: str, figures: Mapping[str, Mapping[str, str]] | None) -> str:
    """The methods of a task; measured columns where there are figures."""
    from kd_tfrs.evaluation.tables import MISSING, as_markdown

    measured = list(METRICS.values()) if figures is not None else []
    header = ["method", "what is compared", "classes", "over", "defaults"]
    cells = [[*header, "source", *measured, "when"]]
    for name, (method, terms) in _methods(task).items():
        mine = (figures or {}).get(name, {})
        classes = (_class(term.loss, PAGES[task].parent) for term in terms)
        cells.append(
            [
                f"`{name}`",
                method.help,
                ", ".join(dict.fromkeys(classes)),
                ", ".join(dict.fromkeys(map(_place, terms))),
                _defaults(method, terms),
                method.source,
                *(mine.get(title, MISSING) for title in measured),
                method.use,
            ]
        )
    return as_markdown(cells, "llllll" + "r" * len(measured) + "l")


def refreshed(
    text: str, task: str, screening: Mapping[str, Any] | None = None
) -> str:
    """A page with its table written anew.

    Args:
        text: the page.
        task: "retrieval" or "ranking".
        screening: what `compare.py` wrote; `None` keeps the figures of the
            page.

    Returns:
        The page.
    """
    figures = _figures_of(_TABLE.search(text)[2])
    if screening is not None and task == "retrieval":
        figures = {
            row["method"]: {
                title: f"{row['validation'][metric]:.4f}"
                for metric, title in METRICS.items()
                if metric in row["validation"]
            }
            for row in screening["validation"]["methods"]
        }
    return _TABLE.sub(lambda m: m[1] + _table(task, figures) + m[3], text)


def counted(text: str) -> str:
    """A page with the number of methods of both tasks."""
    names = {name for task in PAGES for name in _methods(task)}
    return _COUNT.sub(str(len(names)), text)


def _figures_of(page_table: str) -> dict[str, dict[str, str]] | None:
    """The measured cells of a table; `None` if it has no such columns."""
    header, _, *rows = (
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in page_table.splitlines()
    )
    if not set(METRICS.values()) <= set(header):
        return None
    named = [dict(zip(header, row, strict=True)) for row in rows]
    return {row["method"]: row for row in named}


def _place(term: DistillationTerm) -> str:
    from kd_tfrs.distillation.retrieval import FeaturePair

    if isinstance(term.candidates, FeaturePair):
        return _PLURALS[term.candidates.side]
    return f"`{type(term.candidates).__name__}`"


def _defaults(method: Method, terms: list[DistillationTerm]) -> str:
    """The method's options and its losses' numbers."""
    found = dict(method.defaults)
    for term in terms:
        for name, value in term.loss.get_config().items():
            if isinstance(value, (int, float)) and name not in _OF_THE_RUN:
                found.setdefault(name, value)
    texts = [f"{name} {value:g}" for name, value in found.items()]
    return ", ".join(texts) or "-"


def _class(loss: object, folder: Path) -> str:
    """A link to where the class stands."""
    path = os.path.relpath(inspect.getfile(type(loss)), folder)
    return f"[{type(loss).__name__}]({path})"


def _screening(path: str | None) -> dict | None:
    """What `compare.py` wrote, if it is given."""
    if path is None:
        return None
    from kd_tfrs.workflow.run import read_json

    known = Path(path).is_file()
    found = read_json(Path(path)) if known else {}
    if "validation" not in found:
        raise UserError(
            "`--screening` should be a comparison.json of "
            f"experiments/compare.py. Received: {path}, which is "
            f"{'another file' if known else 'not there'}. Check the path."
        )
    return found


def run() -> list[Path]:
    """Writes the pages; returns those that have changed."""
    screening, readme = _screening(FLAGS.screening), ROOT / "README.md"
    new = {
        page: refreshed(page.read_text(), task, screening)
        for task, page in PAGES.items()
    }
    new[readme] = counted(readme.read_text())
    changed = [page for page, text in new.items() if text != page.read_text()]
    for page in changed:
        page.write_text(new[page])
    names = ", ".join(str(page.relative_to(ROOT)) for page in changed)
    print(f"pages written anew: {names or 'none'}")
    return changed


if __name__ == "__main__":
    console.main(run, {"Table": ["screening"]}, __doc__)
