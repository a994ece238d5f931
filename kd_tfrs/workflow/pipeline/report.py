"""The table and the plot of an end-to-end measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kd_tfrs.evaluation.plots import save_png
from kd_tfrs.evaluation.stage_style import stage_style

_PLOTTED = ("ndcg@10", "recall@50", "recall@10")
_SLICES = {"known_users": "users with a past", "new_users": "new users"}
_TERMS = """\
Each row is a retriever and a ranker behind one call: it retrieves {number}
candidates, leaves out what the user has seen (training and validation), ranks
the rest and answers with the best. Relevant is what the first task of the
ranking run calls so of a user's test events. Every user with something to
find asks once; what is known of the event is that of {context}, and features
of users and items are as of the end of training. The rankers were trained on
impressions alone, and score candidates here that nobody has shown: where
ranking loses against retrieval alone, this is why. A blended pair orders by
both scores, each standardised over the user's candidates. `retrieved_recall`
is of the candidates, `best_ndcg@10` what a ranker that knows the truth would
make of them. Intervals are 95 %, bootstrap over users.
"""


def markdown(found: dict[str, Any]) -> str:
    """What was found, as text.

    Args:
        found: see `pipeline.json`.

    Returns:
        Markdown with a line break at the end.
    """
    flags, rows = found["flags"], found["stages"]
    contexts = {
        "first_event": "the user's first test event",
        "none": "nothing",
    }
    lines = [
        f"# Retrieval and ranking end to end: {found['dataset']}",
        "",
        f"Commit {found['environment']['commit']}, "
        f"{found['environment']['processor']}. {found['title']}.",
        "",
        _TERMS.format(
            number=flags["num_retrieved"], context=contexts[flags["context"]]
        ),
        *_table(rows, found["latency"]["latency_ms"]),
    ]
    for name, title in _SLICES.items():
        part = [{**r, **r["slices"][name]} for r in rows if name in r["slices"]]
        if part and part[0]["users"] < rows[0]["users"]:
            lines += ["", f"## {title.capitalize()}: {part[0]['users']:,}", ""]
            lines += _table(part, {})
    lines += _blend_lines(found)
    return "\n".join([*lines, *_notes(found)]) + "\n"


def _table(
    rows: list[dict[str, Any]], latency: dict[str, dict[str, float]]
) -> list[str]:
    """Lines of a table; a part of the users has neither times nor bars."""
    names = list(rows[0]["metrics"])
    heads = ["retrieval + ranking", *names]
    heads += ["p50 ms", "p99 ms"] if latency else []
    lines = [f"| {' | '.join(heads)} |", f"| :-- |{' --: |' * len(heads[1:])}"]
    for row in rows:
        shown = [
            _cell(row, name, bool(latency) and name == "ndcg@10")
            for name in names
        ]
        if latency:
            times = latency.get(row["stage"], {})
            shown += [
                f"{times[p]:.2f}" if times else "" for p in ("p50", "p99")
            ]
        lines.append(f"| {' | '.join([row['title'], *shown])} |")
    return lines


def _cell(row: dict[str, Any], name: str, with_interval: bool) -> str:
    value = f"{row['metrics'][name]:.4f}"
    if not with_interval:
        return value
    low, high = row["intervals"][name]
    return f"{value} ({low:.4f} to {high:.4f})"


def _blend_lines(found: dict[str, Any]) -> list[str]:
    """What the weights of the blended pairs are, and where from."""
    # A pair that was measured before there was a blend does not say.
    blended = [
        row
        for row in found["stages"]
        if row.get("retrieval_weight") is not None
    ]
    if not blended:
        return []
    lines = ["", "## The retrieval's share in the order", ""]
    titles = {row["stage"]: row["title"] for row in blended}
    if not found["weighing"]:
        given = found["flags"]["retrieval_weight"]
        return [*lines, f"--retrieval_weight={given:g} was given."]
    lines += [
        "NDCG@10 of the validation events (relevant there, training events "
        "left out) by weight: 0 is the ranker's order, 1 the retrieval's. The "
        "best was taken before test was asked.",
        "",
    ]
    weights = [
        f"{tried['retrieval_weight']:g}"
        for tried in next(iter(found["weighing"].values()))["validation"]
    ]
    lines += [f"| pair | {' | '.join(weights)} | taken |"]
    lines += [f"| :-- |{' --: |' * len(weights)} --: |"]
    for name, told in found["weighing"].items():
        values = [f"{tried['ndcg@10']:.4f}" for tried in told["validation"]]
        taken = f"{told['retrieval_weight']:g}"
        lines.append(f"| {' | '.join([titles[name], *values, taken])} |")
    return lines


def _notes(found: dict[str, Any]) -> list[str]:
    lines = ["", "## Paired tests over users", ""]
    titles = {row["stage"]: row["title"] for row in found["stages"]}
    for test in found["comparisons"]:
        p = test["p_corrected"]
        corrected = "" if p is None else f"; p = {p:.2g} (t-test, Holm)"
        lines.append(
            f"* {test['metric']}, {titles[test['baseline']]} -> "
            f"{titles[test['challenger']]}: {test['text']}{corrected}"
        )
    lines += ["", "## One whole call", "", *_latency_lines(found)]
    for name, same in found["parity"].items():
        lines += [
            "",
            f"{titles[name].capitalize()}, the exports and the Keras models: "
            f"{same['identical_lists']:.1%} of the lists of {same['k']} items "
            f"of {same['users']:,} users are the same in order, "
            f"{same['same_items']:.1%} have the same items; scores differ by "
            f"{same['max_score_difference']:.1e} at most.",
        ]
    return lines


def _latency_lines(found: dict[str, Any]) -> list[str]:
    measured = found["latency"]
    times, threads = measured["latency_ms"], measured["threads"]
    limits = ", ".join(f"{k} {v}" for k, v in threads.items() if v)
    lines = [
        f"One user, {found['flags']['num_retrieved']} candidates, top "
        f"{measured['k']}; configurations in turn, call by call. Threads: "
        f"{limits or 'as TensorFlow decides'}.",
        "",
    ]
    slow = times.get("teacher_teacher")
    for row in found["stages"]:
        if row["stage"] in times:
            mine = times[row["stage"]]
            ratio = (
                f", {slow['p50'] / mine['p50']:.1f} times as fast as teacher "
                "+ teacher"
                if slow and row["stage"] != "teacher_teacher"
                else ""
            )
            lines.append(
                f"* {row['title']}: p50 {mine['p50']:.2f} ms, p99 "
                f"{mine['p99']:.2f} ms{ratio}"
            )
    return lines


def plot(rows: list[dict[str, Any]], path: str | Path) -> None:
    """Draws the pairs as bars with their intervals, a panel a metric.

    Args:
        rows: of the pairs.
        path: the PNG to write.
    """
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
