r"""Measures the latency of one user's candidates in every form of a ranker.

One call scores all candidates of one user on one thread, from NumPy arrays to
NumPy arrays. Networks, including the ensemble, and LiteRT files take encoded
features and return logits, so that their time does not include encoding. "user
once" takes one row of the user's features instead of one row a candidate,
"items known" takes row numbers instead of item features. The SavedModel takes
raw columns (`serving_default`), or the ids of the user and the candidates
(`rank`): it looks up features, encodes, scores, sorts and returns ids, so that
its time includes everything except the network connection. Contenders are
measured in turns in random order, so that load on the machine affects all of
them.

`--run_dir` is a finished run of `distill.py --task=ranking`. To copy:

    python experiments/benchmarks/ranking_latency.py --run_dir=runs/mine \
        --output=experiments/benchmarks/results/ranking_latency

The exit code is 1 if the bound does not hold.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from absl import flags

_HERE = Path(__file__).parent
sys.path[:0] = [str(_HERE), str(_HERE.parent)]
import common
import console

from kd_tfrs.errors import UserError

FLAGS = flags.FLAGS
flags.DEFINE_string("run_dir", None, "A finished run of --task=ranking.")
flags.DEFINE_integer("candidates", 500, "Items of one user that are scored.", 1)
flags.DEFINE_integer("top_k", 10, "Answers of the SavedModel's rank.", 1)
flags.DEFINE_integer("repeats", 40, "Turns of each.", 1)
flags.DEFINE_integer("calls", 20, "Calls of a turn that are measured.", 1)
flags.DEFINE_integer("warmup", 3, "Calls before them that are not.", 0)
flags.DEFINE_float(
    "faster",
    20.0,
    "Least ratio of the ensemble's latency to the student's.",
    0,
)
flags.DEFINE_string(
    "output", None, "Where to write the result, without .json and .md."
)
_COUNTS = ("candidates", "top_k", "repeats", "calls", "warmup")
GROUPS = {"Run": ["run_dir", *_COUNTS, "faster", "output"]}
_TEACHER = "teacher"
# The forms of the student that the bound is for.
_BOUND = (
    "pruned, items known",
    "pruned, LiteRT float32, user once",
    "pruned, LiteRT int8, user once",
    "pruned, LiteRT float32, items known",
    "pruned, LiteRT int8, items known",
    "pruned, SavedModel rank",
)


def read_config() -> Any:
    """The options of the run.

    Raises:
        UserError: there is no such run.
    """
    from kd_tfrs.workflow.ranking.config import RankingConfig
    from kd_tfrs.workflow.run import read_json

    path = Path(FLAGS.run_dir or "") / "flags.json"
    if FLAGS.run_dir is None or not path.exists():
        raise UserError(
            "`--run_dir` should be the folder of a finished ranking run. "
            f"Received: {FLAGS.run_dir}. Make one by distill.py "
            "--task=ranking."
        )
    flat = read_json(path)
    if flat.pop("task", None) != "ranking":
        raise UserError(
            "`--run_dir` should be a run of --task=ranking. Received: "
            f"{FLAGS.run_dir}, another one. Name one that is."
        )
    return RankingConfig.from_flat(flat)


def rows_of(contenders: list, times: common.Times) -> dict[str, dict]:
    """The results of every contender, by name."""
    found = common.summarise(times, _TEACHER)
    return {
        one.name: {
            **found[one.name],
            "times_faster": 1.0 / found[one.name]["ratio"],
            "sent": one.sent,
            "parameters": one.parameters,
            "bytes": one.bytes,
            "max_logit_difference": one.difference,
        }
        for one in contenders
    }


def to_markdown(result: dict[str, Any]) -> str:
    """The result as a page."""
    lines = [
        f"# Scoring {result['candidates']} candidates of one user",
        "",
        f"{result['data']['dataset']}; teacher: "
        f"{', '.join(result['data']['teachers'])}; student: "
        f"{result['data']['student']}. One thread; "
        f"{result['repeats'] * result['calls']} calls of each, by turns. "
        "From arrays to arrays. All forms take encoded features, except the "
        "SavedModel, which takes raw columns, or ids for `rank`, and returns "
        "sorted ids.",
        "",
        *common.table(
            [
                "scored by",
                "sent",
                "p50 ms",
                "p99 ms",
                "times faster",
                "parameters",
                "bytes",
                "largest difference of a logit",
            ],
            [_line(name, row) for name, row in result["rows"].items()],
        ),
        "",
        f"Required: at least {result['faster']:g} times faster than the "
        f"ensemble: {_verdict(result['bounds'])}.",
        "",
        *common.closing(result),
    ]
    return "\n".join(lines)


def _line(name: str, row: dict[str, Any]) -> list[str]:
    size, apart = row["bytes"], row["max_logit_difference"]
    return [
        name,
        row["sent"],
        f"{row['p50_ms']:.3f}",
        f"{row['p99_ms']:.3f}",
        f"{row['times_faster']:.1f}",
        f"{row['parameters']:,}",
        "" if size is None else f"{size:,}",
        "" if apart is None else f"{apart:.1e}",
    ]


def _verdict(bounds: list[dict[str, Any]]) -> str:
    return "; ".join(
        f"{b['bound']} {b['value']:.1f} ({'holds' if b['holds'] else 'fails'})"
        for b in bounds
    )


def run() -> dict[str, Any]:
    """Measures, prints, and writes to `--output`.

    Returns:
        The result as it is written to JSON.

    Raises:
        UserError: there is no such run.
    """
    config = read_config()
    with console.quiet_imports():
        import ranking_contenders as ranking
        import tensorflow as tf
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    stages = ranking.load_stages(Path(FLAGS.run_dir), config)
    made = ranking.Contest(stages, FLAGS.candidates, FLAGS.top_k).make()
    times = ranking.measure_calls(
        made, FLAGS.repeats, FLAGS.calls, FLAGS.warmup
    )
    rows = rows_of(made, times)
    result = {
        **{name: FLAGS[name].value for name in (*_COUNTS, "faster")},
        "data": {
            "dataset": Path(config.data.dataset).stem,
            "teachers": list(config.teacher_rankers.networks),
            "student": config.student_ranker.network,
        },
        "rows": rows,
        "bounds": [
            {
                "bound": name,
                "value": rows[name]["times_faster"],
                "limit": FLAGS.faster,
                "holds": rows[name]["times_faster"] >= FLAGS.faster,
            }
            for name in _BOUND
            if name in rows
        ],
        "environment": common.environment(),
        "command": _command(),
    }
    common.publish(result, to_markdown(result), FLAGS.output)
    return result


def _command() -> str:
    """The given flags, without paths of this machine."""
    given = [
        f"--{name}={FLAGS[name].value}"
        for name in (*_COUNTS, "faster")
        if not FLAGS[name].using_default_value
    ]
    script = "python experiments/benchmarks/ranking_latency.py"
    return " ".join([script, "--run_dir=<run>", *given])


def main() -> None:
    """Runs the benchmark, and fails if the bound does not hold."""
    if not all(row["holds"] for row in run()["bounds"]):
        sys.exit(1)


if __name__ == "__main__":
    console.main(main, GROUPS, __doc__)
