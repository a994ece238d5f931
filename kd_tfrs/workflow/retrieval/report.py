"""What a retrieval run found: tests, shares, warnings, a table, a sentence."""

from __future__ import annotations

import dataclasses
from typing import Any

from kd_tfrs.evaluation import (
    format_bytes,
    paired_test,
    plot_curves,
    plot_stages,
    stages_markdown,
    stages_text,
)
from kd_tfrs.evaluation.latency_ratio import within_noise
from kd_tfrs.workflow.cautions import (
    cautions_markdown,
    nothing_significant,
    teacher_behind,
)
from kd_tfrs.workflow.ratios import with_ratios
from kd_tfrs.workflow.retrieval.latencies import LARGE_CATALOGUE
from kd_tfrs.workflow.retrieval.stages import Stages
from kd_tfrs.workflow.sentence import closing_sentence

TESTED = ("ndcg@20", "recall@50")
SHIPPED = "saved_model"
# A stage, and what it is tested against.
_PAIRS = (
    ("student", "distilled"),
    ("student", "teacher"),
    ("student", SHIPPED),
    ("distilled", SHIPPED),
)
_TRAINED = ("teacher", "student", "distilled", "pruned")
_CURVES = ("recall@50", "ndcg@20")
_BASELINES = {"popularity": "popularity", "als": "ALS"}
# A relative difference that noise alone can make.
_TOLERANCE = 0.01
_REMEDY = "other --teacher_learning_rate, --teacher_epochs or --teacher_dropout"


def comparisons(chain: Stages) -> list[dict[str, Any]]:
    """Paired tests over the test users, of the pairs that are done.

    Args:
        chain: of the run.

    Returns:
        A dict a pair and metric: `baseline`, `challenger`, `metric`, `text`
        and the numbers of the test. The headline metric comes first.
    """
    metrics = dict.fromkeys([chain.learner.monitor, *TESTED])
    found = []
    for pair in _PAIRS:
        if not all(map(chain.is_done, pair)):
            continue
        one, other = map(chain.per_user, pair)
        for metric in metrics:
            test = paired_test(one[metric], other[metric])
            found.append(
                {
                    "baseline": pair[0],
                    "challenger": pair[1],
                    "metric": metric,
                    **dataclasses.asdict(test),
                    "text": str(test),
                }
            )
    return found


def significance(compared: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The distilled student against the student alone, by metric."""
    return {
        test["metric"]: test
        for test in compared
        if (test["baseline"], test["challenger"]) == ("student", "distilled")
    }


def p_value(
    compared: list[dict[str, Any]], baseline: str, challenger: str, metric: str
) -> float | None:
    """The p-value of a t-test; `None` where the pair was not tested."""
    pair = (baseline, challenger, metric)
    for test in compared:
        if (test["baseline"], test["challenger"], test["metric"]) == pair:
            return test["t_p_value"]
    return None


def rows_with_ratios(
    chain: Stages,
    rows: list[dict[str, Any]],
    compared: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    """Rows with what each keeps of the teacher, and what it saves.

    Args:
        chain: of the run.
        rows: of baselines and stages.
        compared: see `comparisons`.

    Returns:
        Copies of the rows, with latencies where they were measured.
    """
    metric = chain.learner.monitor
    found = with_ratios(
        rows,
        metric=metric,
        p_value=p_value(compared, "student", "teacher", metric),
        baselines=_BASELINES,
    )
    latencies = chain.latencies()["rows"]
    return [{**row, **latencies.get(row["stage"], {})} for row in found]


def cautions_of(
    chain: Stages,
    rows: list[dict[str, Any]],
    compared: list[dict[str, Any]],
) -> list[str]:
    """Warnings where the result is not to be trusted.

    Args:
        chain: of the run.
        rows: of baselines and stages.
        compared: see `comparisons`.

    Returns:
        A line each.
    """
    metric = chain.learner.monitor
    metrics = {row["stage"]: row["metrics"] for row in rows}
    others = {**_BASELINES, "student": "the student alone"}
    lines = [chain.label_warning]
    lines += [
        teacher_behind(
            name,
            metrics["teacher"],
            metrics[stage],
            is_error={metric: False},
            tolerance=_TOLERANCE,
            remedy=_REMEDY,
        )
        for stage, name in others.items()
        if "teacher" in metrics and stage in metrics
    ]
    tested = p_value(compared, "student", "distilled", metric)
    lines += [nothing_significant(metric, tested), chain.latencies()["warning"]]
    return [line for line in lines if line is not None]


def sentence(
    chain: Stages,
    rows: list[dict[str, Any]],
    compared: list[dict[str, Any]],
) -> str | None:
    """The last line of a run; `None` where nothing was exported."""
    named = {row["stage"]: row for row in rows}
    if SHIPPED not in named or "teacher" not in named:
        return None
    shipped, metric = named[SHIPPED], chain.learner.monitor
    faster = shipped.get("times_faster_100k")
    return closing_sentence(
        "The shipped file",
        metric.replace("ndcg", "NDCG").replace("recall", "Recall"),
        quality=shipped["kept"]["quality"],
        lead=shipped["kept"]["lead"],
        p_value=p_value(compared, "student", "teacher", metric),
        times_smaller=shipped["times_smaller"],
        times_faster=faster and faster["ratio"],
        within_noise=bool(faster) and within_noise(faster),
        where=f"with {LARGE_CATALOGUE:,} items",
    )


def write(chain: Stages, found: dict[str, Any]) -> str:
    """Writes `stages.md`, `stages.txt` and the plots.

    Args:
        chain: of the run.
        found: what stands in `metrics.json`.

    Returns:
        The table for a console.
    """
    run, rows = chain.run, [*found["baselines"], *found["stages"]]
    has_teacher = any(row["stage"] == "teacher" for row in rows)
    reference = "teacher" if has_teacher else rows[-1]["stage"]
    run.write_text("stages.md", _markdown(found, rows, reference))
    table = stages_text(rows, metrics=_console_metrics(chain))
    run.write_text("stages.txt", table)
    plot_stages(rows, run.path("stages.png"), metric=chain.learner.monitor)
    history = {
        stage: [_curve_point(row) for row in chain.history(stage)]
        for stage in _TRAINED
    }
    history = {stage: kept for stage, kept in history.items() if kept}
    if history:
        plot_curves(history, run.path("curves.png"))
    return table


def _console_metrics(chain: Stages) -> tuple[str, str]:
    monitor = chain.learner.monitor
    recall = "recall@10" if monitor.endswith("@10") else "recall@50"
    return (recall, monitor if monitor != recall else "ndcg@10")


def _markdown(
    found: dict[str, Any], rows: list[dict[str, Any]], reference: str
) -> str:
    environment = found["environment"]
    text = (
        f"# {found['dataset']}, seed {found['seed']}\n\n"
        f"Commit {environment['commit']}, {environment['processor']}. Test "
        "metrics. `kept` is the share of the teacher's headline metric, `lead "
        "kept` the share of its lead over the student alone. Model bytes are "
        "those of the tables that are served, as they are stored; size and "
        "gzip are those of the whole version folder. Latency is that of one "
        "user's recommendations in TensorFlow's C library on one thread, "
        "stages measured in turns, with the items of the data and with "
        f"{LARGE_CATALOGUE:,} items.\n\n"
        + stages_markdown(rows, reference=reference)
    )
    lines = [choice_text(found["stages"]), found.get("sentence")]
    text += "".join(f"\n{line}\n" for line in lines if line)
    if found["warnings"]:
        text += f"\n{cautions_markdown(found['warnings'])}"
    for test in found["comparisons"]:
        text += (
            f"\n* {test['metric']}, {test['challenger']} against "
            f"{test['baseline']}: {test['text']}"
        )
    return text + "\n"


def choice_text(rows: list[dict[str, Any]]) -> str | None:
    """Which form ships, why, and what the others lose on validation.

    Args:
        rows: of stages; that of the export holds the choice.

    Returns:
        One sentence and the losses; `None` without an export.
    """
    named = {row["stage"]: row for row in rows}
    choice = named.get(SHIPPED, {}).get("choice")
    if choice is None:
        return None
    losses = ", ".join(
        f"{_form_name(named, name)} {format_bytes(named[name]['model_bytes'])} "
        f"{loss:+.1%}{_up_to(loss, choice.get('margins', {}).get(name, 0.0))}"
        for name, loss in choice["losses"].items()
        if name in named
    )
    return f"{choice['reason']}. Validation loss of each form: {losses}."


def _up_to(loss: float, margin: float) -> str:
    return f" (up to {loss + margin:+.1%})" if margin else ""


def _form_name(named: dict[str, dict[str, Any]], form: str) -> str:
    if not form.startswith("pruned") or "pruned" not in named:
        return form
    return f"{form} ({named['pruned']['sparsity']:.0%} zeros)"


def _curve_point(epoch: dict[str, float]) -> dict[str, float]:
    kept = {name: epoch[name] for name in _CURVES if name in epoch}
    return {"epoch": epoch["epoch"], "loss": epoch["loss"], **kept}
