r"""Writes the table of all methods, with what a screening measured.

    python experiments/methods.py \
        --screening=experiments/results/citeulike-full-screening/comparison.json

prints Markdown; kd_tfrs/distillation/README.md holds what it printed.
"""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

sys.path.insert(0, os.path.dirname(__file__))
import console

from kd_tfrs.errors import UserError

if TYPE_CHECKING:
    from kd_tfrs.distillation import DistillationTerm
    from kd_tfrs.workflow.retrieval.methods import Method

FLAGS = flags.FLAGS
# These follow from data and length of a run.
_OF_THE_RUN = (
    "annealing_steps",
    "curriculum_steps",
    "hard_from_step",
    "num_candidates",
    "num_teachers",
    "seed",
)
_PLURALS = {"query": "users", "candidate": "items"}
flags.DEFINE_string(
    "screening", None, "A comparison.json whose figures are shown."
)


def rows(screening: dict | None) -> list[str]:
    """A line for each method, by kind.

    Args:
        screening: what `compare.py` wrote, or `None`.

    Returns:
        Lines of a Markdown table.
    """
    from kd_tfrs.distillation import FeatureLoss
    from kd_tfrs.workflow.retrieval.methods import METHODS, documented_terms

    found = {}
    if screening is not None:
        found = {m["method"]: m for m in screening["validation"]["methods"]}
    lines = [
        "| method | what is compared | classes | over | defaults | source | "
        "NDCG@20 | Recall@50 | when |",
        "| :-- | :-- | :-- | :-- | :-- | :-- | --: | --: | :-- |",
    ]
    for name, method in METHODS.items():
        terms = documented_terms(method)
        losses = dict.fromkeys(_class(term.loss) for term in terms)
        over = dict.fromkeys(
            _PLURALS[term.candidates.side]
            if isinstance(term.loss, FeatureLoss)
            else f"`{type(term.over).__name__}`"
            for term in terms
        )
        metrics = found.get(name, {}).get("validation", {})
        measured = [
            f"{metrics[key]:.4f}" if key in metrics else "-"
            for key in ("ndcg@20", "recall@50")
        ]
        lines.append(
            f"| `{name}` | {method.help} | {', '.join(losses)} | "
            f"{', '.join(over)} | {_defaults(method, terms)} | "
            f"{method.source} | {' | '.join(measured)} | {method.use} |"
        )
    return lines


def _defaults(method: Method, terms: list[DistillationTerm]) -> str:
    """The method's options and its losses' numbers."""
    found = dict(method.defaults)
    for term in terms:
        for name, value in term.loss.get_config().items():
            if isinstance(value, (int, float)) and name not in _OF_THE_RUN:
                found.setdefault(name, value)
    texts = [f"{name} {value:g}" for name, value in found.items()]
    return ", ".join(texts) or "-"


def _class(loss: object) -> str:
    """A link to where the class stands."""
    kind = type(loss)
    path = Path(inspect.getfile(kind)).name
    return f"[{kind.__name__}](losses/{path})"


def _screening(path: str | None) -> dict | None:
    """What `compare.py` wrote, if it is asked for."""
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


def run() -> None:
    """Prints the table."""
    screening = _screening(FLAGS.screening)
    with console.quiet_imports():
        lines = rows(screening)
    print("\n".join(lines))


if __name__ == "__main__":
    console.main(run, {"Table": ["screening"]}, __doc__)
