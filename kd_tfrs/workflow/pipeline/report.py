"""Tests, tables and plot of an end-to-end measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kd_tfrs.evaluation.plots import save_png
from kd_tfrs.evaluation.significance import holm, paired_test
from kd_tfrs.evaluation.stage_style import stage_style
from kd_tfrs.evaluation.tables import as_markdown
from kd_tfrs.workflow.pipeline.stages import PipelineStages
from kd_tfrs.workflow.report import tested_pair

_PLOTTED = ("ndcg@10", "recall@50", "recall@10")
_SLICES = {"known_users": "users with a past", "new_users": "new users"}
_MAIN = "ndcg@10"
_TERMS = """\
Each row is a retriever and a ranker behind one call: it retrieves {number}
candidates, leaves out what the user has seen (training and validation), ranks
the others and returns the best. An item is relevant if the first task of the
ranking run has it as positive among a user's test events. There is one
request for every user with a relevant item; its context is {context}, and
features of users and items are as of the end of training. The rankers were
trained on impressions alone, and here they score candidates that were not
shown: where ranking loses against retrieval alone, this is the reason. A
blended pair orders by both scores, each standardised over the user's
candidates. `retrieved_recall` is the recall of the candidates, `best_ndcg@10`
the result of a perfect ranker on them. Intervals are 95 %, bootstrap over
users.
"""
_BLEND = """\
NDCG@10 on validation events (relevant there, training events left out) by
weight: 0 is the ranker's order, 1 the retrieval's. The best weight is chosen
before the test data are used.
"""

TESTED = ("ndcg@10", "recall@10")
# Baseline and challenger.
COMPARED = (
    ("teacher_teacher", "student_student"),
    ("teacher_teacher", "teacher_student"),
    ("teacher_teacher", "student_teacher"),
    ("alone_alone", "student_student"),
    ("alone_alone", "distilled_distilled"),
    ("teacher_retrieval", "teacher_teacher"),
    ("student_retrieval", "student_student"),
    ("popularity", "student_student"),
    ("teacher_blend", "student_blend"),
    ("teacher_retrieval", "teacher_blend"),
    ("student_retrieval", "student_blend"),
    ("student_student", "student_blend"),
)
# A pair in process, and its exports.
EXPORTED = (("student_student", "exports"), ("student_blend", "exports_blend"))


def comparisons(chain: PipelineStages) -> list[dict[str, Any]]:
    """Paired tests over users, corrected for their number.

    Args:
        chain: pairs that are done.

    Returns:
        One dict a test: "metric", "baseline", "challenger", the fields of
        `PairedTest`, "p_corrected" (t-test, Holm over the tests of the
        metric) and "text".
    """
    done = [p for p in COMPARED if all(chain.is_done(name) for name in p)]
    found = []
    for metric in TESTED:
        tests = [
            paired_test(*(chain.per_user(name)[metric] for name in pair))
            for pair in done
        ]
        corrected = holm([test.t_p_value for test in tests])
        found += [
            {**tested_pair(pair, metric, test), "p_corrected": p}
            for pair, test, p in zip(done, tests, corrected, strict=True)
        ]
    return found


def parity(chain: PipelineStages) -> dict[str, dict[str, Any]]:
    """Whether the exports answer like the Keras models in process.

    Args:
        chain: the pairs.

    Returns:
        By the pair in process: "users", "k", "identical_lists" (share, order
        and all), "same_items" (share with the same items in any order) and
        "max_score_difference" of places that both fill; nothing without
        exports.
    """
    return {
        pair[0]: _same(*(chain.arrays(name) for name in pair))
        for pair in EXPORTED
        if all(chain.is_done(name) for name in pair)
    }


def _same(
    one: dict[str, np.ndarray], other: dict[str, np.ndarray]
) -> dict[str, Any]:
    same = one["items"] == other["items"]
    sets = np.sort(one["items"]) == np.sort(other["items"])
    both = (one["items"] >= 0) & (other["items"] >= 0)
    gap = np.abs(one["scores"][both] - other["scores"][both])
    return {
        "users": len(same),
        "k": same.shape[1],
        "identical_lists": float(same.all(axis=1).mean()),
        "same_items": float(sets.all(axis=1).mean()),
        "max_score_difference": float(gap.max(initial=0.0)),
    }


def markdown(found: dict[str, Any]) -> str:
    """What was found, as text."""
    flags, rows = found["flags"], found["stages"]
    contexts = {
        "first_event": "the user's first test event",
        "none": "nothing",
    }
    terms = _TERMS.format(
        number=flags["num_retrieved"], context=contexts[flags["context"]]
    )
    parts = [
        f"# Retrieval and ranking end to end: {found['dataset']}\n\n"
        f"Commit {found['environment']['commit']}, "
        f"{found['environment']['processor']}. {found['title']}.\n\n"
        f"{terms}\n{_table(rows, found['latency']['latency_ms'])}"
    ]
    for name, title in _SLICES.items():
        part = [{**r, **r["slices"][name]} for r in rows if name in r["slices"]]
        if part and part[0]["users"] < rows[0]["users"]:
            count = f"{part[0]['users']:,}"
            parts.append(
                f"## {title.capitalize()}: {count}\n\n{_table(part, {})}"
            )
    parts += [_blend_text(found), _tests_text(found), _latency_text(found)]
    return "\n".join(filter(None, parts))


def _table(
    rows: list[dict[str, Any]], latency: dict[str, dict[str, float]]
) -> str:
    """A table; that of a part of the users has no times and intervals."""
    names = list(rows[0]["metrics"])
    times = ("p50", "p99") if latency else ()
    cells = [["retrieval + ranking", *names, *(f"{p} ms" for p in times)]]
    for row in rows:
        mine = latency.get(row["stage"], {})
        cells.append(
            [
                row["title"],
                *(_cell(row, n, bool(latency) and n == _MAIN) for n in names),
                *(f"{mine[p]:.2f}" if mine else "" for p in times),
            ]
        )
    return as_markdown(cells)


def _cell(row: dict[str, Any], name: str, with_interval: bool) -> str:
    value = f"{row['metrics'][name]:.4f}"
    if not with_interval:
        return value
    low, high = row["intervals"][name]
    return f"{value} ({low:.4f} to {high:.4f})"


def _blend_text(found: dict[str, Any]) -> str:
    """The weights of the blended pairs, and how they were chosen."""
    # Older results have no weight.
    titles = {
        row["stage"]: row["title"]
        for row in found["stages"]
        if row.get("retrieval_weight") is not None
    }
    if not titles:
        return ""
    text = "## The retrieval's share in the order\n\n"
    if not found["weighing"]:
        given = found["flags"]["retrieval_weight"]
        return f"{text}--retrieval_weight={given:g} was given.\n"
    tried = [chosen["validation"] for chosen in found["weighing"].values()]
    weights = [f"{row['retrieval_weight']:g}" for row in tried[0]]
    cells = [["pair", *weights, "taken"]]
    for (name, chosen), rows in zip(
        found["weighing"].items(), tried, strict=True
    ):
        values = [f"{row[_MAIN]:.4f}" for row in rows]
        taken = f"{chosen['retrieval_weight']:g}"
        cells.append([titles[name], *values, taken])
    return f"{text}{_BLEND}\n{as_markdown(cells)}"


def _tests_text(found: dict[str, Any]) -> str:
    titles = {row["stage"]: row["title"] for row in found["stages"]}
    text = "## Paired tests over users\n\n"
    for test in found["comparisons"]:
        p = test["p_corrected"]
        corrected = "" if p is None else f"; p = {p:.2g} (t-test, Holm)"
        text += (
            f"* {test['metric']}, {titles[test['baseline']]} -> "
            f"{titles[test['challenger']]}: {test['text']}{corrected}\n"
        )
    return text


def _latency_text(found: dict[str, Any]) -> str:
    measured = found["latency"]
    times, threads = measured["latency_ms"], measured["threads"]
    limits = ", ".join(f"{k} {v}" for k, v in threads.items() if v)
    text = (
        "## One whole call\n\n"
        f"One user, {found['flags']['num_retrieved']} candidates, top "
        f"{measured['k']}; configurations in turn, call by call. Threads: "
        f"{limits or 'as TensorFlow decides'}.\n\n"
    )
    slow = times.get("teacher_teacher")
    titles = {row["stage"]: row["title"] for row in found["stages"]}
    for stage, title in titles.items():
        if stage not in times:
            continue
        mine = times[stage]
        text += f"* {title}: p50 {mine['p50']:.2f} ms, p99 {mine['p99']:.2f} ms"
        if slow and stage != "teacher_teacher":
            ratio = slow["p50"] / mine["p50"]
            text += f", {ratio:.1f} times as fast as teacher + teacher"
        text += "\n"
    for name, same in found["parity"].items():
        text += (
            f"\n{titles[name].capitalize()}, the exports and the Keras models: "
            f"{same['identical_lists']:.1%} of the lists of {same['k']} items "
            f"of {same['users']:,} users are the same in order, "
            f"{same['same_items']:.1%} have the same items; scores differ by "
            f"{same['max_score_difference']:.1e} at most.\n"
        )
    return text


def plot(rows: list[dict[str, Any]], path: str | Path) -> None:
    """Draws the pairs as bars with their intervals, a panel a metric."""
    metrics = [m for m in _PLOTTED if m in rows[0]["metrics"]][:2]
    figure = Figure(
        figsize=(3 + 4 * len(metrics), 1.4 + 0.34 * len(rows)),
        layout="constrained",
    )
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    places = range(len(rows))
    for axes, metric in zip(panels, metrics, strict=True):
        values = np.array([row["metrics"][metric] for row in rows])
        ends = np.array([row["intervals"][metric] for row in rows])
        axes.barh(
            places,
            values,
            xerr=[
                np.maximum(0, values - ends[:, 0]),
                np.maximum(0, ends[:, 1] - values),
            ],
            color=[_colour(row) for row in rows],
            # Intervals are black, and so are some stages.
            alpha=0.6,
            error_kw={"capsize": 3, "lw": 1},
        )
        axes.set_title(f"{metric}, 95 % interval over users", fontsize=10)
        axes.grid(visible=True, axis="x", color="0.92")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(places, [row["title"] for row in rows])
    panels[0].invert_yaxis()
    save_png(figure, path)


def _colour(row: dict[str, Any]) -> str:
    """That of the stage which decides the order."""
    return stage_style(row["ranking"] or row["retrieval"]).colour
