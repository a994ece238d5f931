r"""Prints the recommendations of an exported model with titles.

    python experiments/recommend.py --export_dir=runs/first/export/retrieval \
        --user_id=123 --k=10
    python experiments/recommend.py --export_dir=runs/first/export/retrieval \
        --user_id=123 --item_ids=456,789,101
    python experiments/recommend.py --export_dir=runs/first/export/retrieval \
        --user_id=123 --history=8

Without --item_ids the whole catalogue except --exclude is ranked; with it, only
these items. An unknown user gets the model's fallback. --history needs the run
folder around the export and the data of the run: it prints the user's last
items, and excludes all items that the user has seen.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from absl import flags

sys.path.insert(0, os.path.dirname(__file__))
import console

from kd_tfrs.errors import UserError
from kd_tfrs.evaluation.version_folder import version_folder
from kd_tfrs.workflow.retrieval.config import Config

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "export_dir", None, "A version folder, or the folder of versions."
)
flags.DEFINE_string("user_id", None, "Raw id of the user.")
flags.DEFINE_list("item_ids", [], "Rank only these items, raw ids.")
flags.DEFINE_integer("k", 10, "Lines of the table.", 1)
flags.DEFINE_list("exclude", [], "Items to leave out, raw ids.")
flags.DEFINE_integer(
    "history", 0, "Print so many of the user's last items first.", 0
)
GROUPS = {
    "Recommend": [
        "export_dir",
        "user_id",
        "item_ids",
        "k",
        "exclude",
        "history",
    ]
}


def run() -> list[tuple[Any, float]]:
    """Prints the recommendations; returns ids and scores, best first."""
    for name in ("export_dir", "user_id"):
        if not FLAGS[name].value:
            raise UserError(
                f"`--{name}` should be given. Received: none. Run with "
                "--help to see the flags."
            )
    version = version_folder(FLAGS.export_dir)
    config = _config() if FLAGS.history else None
    with console.quiet_imports():
        from kd_tfrs.evaluation.retrieval import SavedModelScorer
    scorer = SavedModelScorer(version)
    items = _items(scorer.path)
    user = scorer.parse_user_ids([FLAGS.user_id])
    exclude = scorer.parse_item_ids(FLAGS.exclude)
    if config is not None:
        exclude = [*exclude, *_print_history(config, user[0], items)]
    if FLAGS.item_ids:
        ranked = _rank_given(scorer, user)
    else:
        ids, scores = scorer.recommend(user, FLAGS.k, [exclude])
        pairs = zip(ids[0].tolist(), scores[0].tolist(), strict=True)
        ranked = [(i, s) for i, s in pairs if s > float("-inf")]
    known = "" if scorer.knows(user[0]) else " (unknown: the fallback)"
    print(f"recommended to user {FLAGS.user_id}{known}")
    _print_table(ranked, items)
    return ranked


def _rank_given(scorer: Any, user: Any) -> list[tuple[Any, float]]:
    candidates = scorer.parse_item_ids(FLAGS.item_ids)
    scores = scorer.score(user, [candidates])[0]
    unknown = [
        i for i, s in zip(candidates, scores, strict=True) if s == float("-inf")
    ]
    if unknown:
        raise UserError(
            "`--item_ids` should name items of the model's catalogue. "
            f"Received: {', '.join(map(str, unknown))}, which it does not "
            "have. Leave them out."
        )
    pairs = zip(list(candidates), scores.tolist(), strict=True)
    return sorted(pairs, key=lambda pair: -pair[1])[: FLAGS.k]


def _items(version: Path) -> dict[Any, tuple[str, str]]:
    """Title and categories of each item, if the export has them."""
    import pandas as pd

    path = version / "assets.extra" / "items.parquet"
    if not path.exists():
        return {}
    table = pd.read_parquet(path)
    empty = [""] * len(table)
    return {
        key: (str(title), str(kind))
        for key, title, kind in zip(
            table.iloc[:, 0].tolist(),
            table.get("title", empty),
            table.get("genres", empty),
            strict=True,
        )
    }


def _config() -> Config:
    """The configuration of the run around the export."""
    # Imports pandas, for which --help does not wait.
    from kd_tfrs.workflow.retrieval.loading import check_data
    from kd_tfrs.workflow.run import read_json

    run_dir = Path(FLAGS.export_dir).resolve()
    while not (run_dir / "flags.json").exists():
        if run_dir == run_dir.parent:
            raise UserError(
                "`--history` needs the run folder around the export. "
                f"Received: {FLAGS.export_dir}, with no flags.json above it. "
                "Leave --history out."
            )
        run_dir = run_dir.parent
    config = Config.from_flat(read_json(run_dir / "flags.json"))
    check_data(config.data)
    return config


def _print_history(
    config: Config, user: Any, items: dict[Any, tuple[str, str]]
) -> list[Any]:
    """Prints the user's last items; returns the seen items of training."""
    from kd_tfrs.workflow.retrieval.prepare import prepare

    prepared = prepare(config.data, config.evaluation, config.seed)
    schema, train = prepared.interactions.schema, prepared.split.train
    mine = train[train[schema.user_id] == user]
    if schema.time:
        mine = mine.sort_values(schema.time, kind="stable")
    seen = mine[schema.item_id].tolist()
    last = seen[::-1][: FLAGS.history]
    print(f"last {len(last)} of {len(seen)} items of user {user}")
    _print_table([(item, None) for item in last], items)
    return seen


def _print_table(
    ranked: list[tuple[Any, float | None]], items: dict[Any, tuple[str, str]]
) -> None:
    rows = [("rank", "item", "score", "title", "genres")]
    for place, (item, score) in enumerate(ranked, start=1):
        shown = "" if score is None else f"{score:.4f}"
        rows.append((str(place), str(item), shown, *items.get(item, ("", ""))))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (c.ljust(w) for c, w in zip(row, widths, strict=True) if w)
        print("  " + "  ".join(cells).rstrip())
    print()


if __name__ == "__main__":
    console.main(run, GROUPS, __doc__)
