r"""Measures the time of a training step and of an epoch with each method.

The time includes everything in training except validation: shuffling, sampling
and joining the candidates of the losses, forward and backward pass, and the
update. The students are measured in turns in random order, so that load on the
machine affects all of them. Each turn starts with warm-up steps that are not
measured, until the input pipeline has consumed its prefetched batches. The
time of a step is the median over steps; the time of an epoch is that of a step
times the number of steps, and for some methods also a measured epoch.

The flags are those of distill.py, with the defaults of configs/verified/
citeulike-full.flags. An untrained teacher is used unless --teacher_weights is
given. Its lists have fewer items in common than those of a trained teacher, so
that methods on lists embed more candidates a step: their times are an upper
bound. To copy:

    python experiments/benchmarks/distillation.py \
        --output=experiments/benchmarks/results/distillation
    python experiments/benchmarks/distillation.py --dataset=synthetic \
        --num_events=2000 --repeats=3

The exit code is 1 if a bound does not hold.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags

_HERE = Path(__file__).parent
sys.path[:0] = [str(_HERE), str(_HERE.parent)]
import common
import console
import distillation_page

from kd_tfrs.errors import UserError

FLAGS = flags.FLAGS
_ALONE = "student"
_OWN = [
    "methods",
    "epoch_methods",
    "teacher_weights",
    "repeats",
    "steps",
    "warmup",
    "epoch_repeats",
    "step_limit",
    "epoch_limits",
    "output",
]
flags.DEFINE_list(
    "methods",
    [
        "soft_targets",
        "soft_targets@live",
        "rrd",
        "rrd_item_side",
        "de",
        "htd",
        "hint",
    ],
    "Methods whose steps are measured beside the student alone; two in one "
    "student are written soft_targets+rrd. With @live at the end the teacher's "
    "towers run in every step; else the teacher is a cache.",
)
flags.DEFINE_list(
    "epoch_methods",
    None,
    "Methods whose epochs are measured as well; soft_targets, rrd, de and htd "
    "if not given.",
)
flags.DEFINE_string(
    "teacher_weights",
    None,
    "weights/teacher.npz of a run; an untrained teacher if not given.",
)
flags.DEFINE_integer("repeats", 20, "Turns of each.", 1)
flags.DEFINE_integer("steps", 10, "Steps of a turn that are measured.", 1)
flags.DEFINE_integer(
    "warmup", 8, "Steps at the start of a turn that are not measured.", 1
)
flags.DEFINE_integer("epoch_repeats", 3, "Measured epochs of each.", 1)
flags.DEFINE_float(
    "step_limit",
    1.4,
    "Largest ratio of a step with cached soft targets to the student's.",
    0,
)
flags.DEFINE_list(
    "epoch_limits",
    None,
    "Seconds of an epoch; rrd:1.5,de:3,htd:15 on citeulike-full if not given.",
)
flags.DEFINE_string(
    "output", None, "Where to write the result, without .json and .md."
)
_COUNTS = ("repeats", "steps", "warmup", "epoch_repeats")
GROUPS = console.define_config_flags()
GROUPS["Run"] = [*_OWN, "seed"]

_BY_CLOCK = ("soft_targets", "rrd", "de", "htd")
_LIMITS = ("rrd:1.5", "de:3", "htd:15")


def set_defaults(path: Path) -> None:
    """Lets a file's flags be the defaults of this script."""
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("--"):
            name, _, value = line[2:].partition("=")
            FLAGS.set_default(name, value)


set_defaults(_HERE.parent / "configs" / "verified" / "citeulike-full.flags")


def measured() -> tuple[list[str], list[str], dict[str, float]]:
    """The measured methods, those with measured epochs, and epoch limits.

    Returns:
        Names, names, and seconds by name.

    Raises:
        UserError: a flag names a method that is not measured.
    """
    names = list(dict.fromkeys([_ALONE, *FLAGS.methods]))
    by_clock, texts = FLAGS.epoch_methods, FLAGS.epoch_limits
    if by_clock is None:
        by_clock = [name for name in _BY_CLOCK if name in names]
    if texts is None:
        known = FLAGS.dataset == distillation_page.REFERENCE_DATA
        texts = [x for x in _LIMITS if known and x.split(":")[0] in names]
    limits = dict(_limit(text) for text in texts)
    for flag, given in (("epoch_methods", by_clock), ("epoch_limits", limits)):
        unknown = [name for name in given if name not in names]
        if unknown:
            raise UserError(
                f"`--{flag}` should name what --methods names. Received: "
                f"{unknown[0]!r}. Add it to --methods."
            )
    return names, list(dict.fromkeys([_ALONE, *by_clock])), limits


def _limit(text: str) -> tuple[str, float]:
    name, _, seconds = text.rpartition(":")
    try:
        return name, float(seconds)
    except ValueError:
        raise UserError(
            "`--epoch_limits` should give seconds by method. Received: "
            f"{text!r}. Write it as rrd:1.5,de:3."
        ) from None


def epoch_rows(
    steps: Mapping[str, Mapping], timed: Mapping[str, float], count: int
) -> dict[str, dict[str, Any]]:
    """Seconds of an epoch by name, both ways, and against the student's."""
    rows = {}
    for name, row in steps.items():
        published = (None, None)
        if FLAGS.dataset == distillation_page.REFERENCE_DATA:
            published = distillation_page.REFERENCES.get(name, published)
        by_clock = timed.get(name)
        rows[name] = {
            "steps_s": count * row["p50_ms"] / 1e3,
            "timed_s": by_clock,
            "ratio": by_clock / timed[_ALONE] if by_clock else row["ratio"],
            "published_fast_s": published[0],
            "published_s": published[1],
        }
    return rows


def bounds(
    steps: Mapping[str, Mapping],
    epochs: Mapping[str, Mapping],
    limits: Mapping[str, float],
) -> list[dict[str, Any]]:
    """The bounds of the measured methods."""
    found = []
    if "soft_targets" in steps:
        ratio = steps["soft_targets"]["ratio"]
        what = "step of soft_targets, cached / student's"
        found.append((what, ratio, FLAGS.step_limit))
    for name, limit in limits.items():
        if name in epochs:
            row = epochs[name]
            # The slower of the two is used.
            value = max(row["steps_s"], row["timed_s"] or 0.0)
            found.append((f"epoch of {name}, s", value, limit))
    return [
        {"bound": what, "value": value, "limit": limit, "holds": value <= limit}
        for what, value, limit in found
    ]


def _command() -> str:
    """The given flags, without paths of this machine."""
    private = {"data_dir", "output", "teacher_weights", "pseudonym_key_file"}
    given = [
        f"--{name}={_text(FLAGS[name].value)}"
        for names in GROUPS.values()
        for name in names
        if name not in private and not FLAGS[name].using_default_value
    ]
    return " ".join(["python experiments/benchmarks/distillation.py", *given])


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _describe(factory: Any, config: Any) -> dict[str, Any]:
    catalogue, batches = factory.prepared.catalogue, factory.batches
    return {
        "dataset": Path(config.data.dataset).stem,
        "events": batches.num_events,
        "users": catalogue.num_users,
        "items": catalogue.num_items,
        "batch_size": batches.batch_size,
        "steps_per_epoch": batches.steps_per_epoch,
        "student_dim": config.student_towers.embedding_dim,
        "teacher_dim": config.teacher_towers.embedding_dim,
        "teacher": "trained" if FLAGS.teacher_weights else "untrained",
    }


def run() -> dict[str, Any]:
    """Measures, prints, and writes to `--output`.

    Returns:
        The result as it is written to JSON.

    Raises:
        UserError: a flag is out of range.
    """
    names, by_clock, limits = measured()
    config = console.config_from_flags()
    with console.quiet_imports():
        import students

        from kd_tfrs.workflow.retrieval.prepare import prepare
    prepared = prepare(config.data, config.evaluation, config.seed)
    factory = students.StudentFactory(
        config, prepared, names, FLAGS.teacher_weights
    )
    made = [factory.make(name) for name in names]
    times, candidates = students.measure_steps(
        made, FLAGS.repeats, FLAGS.steps, FLAGS.warmup, config.seed
    )
    count = factory.batches.steps_per_epoch
    timed = students.measure_epochs(
        [s for s in made if s.name in by_clock], count, FLAGS.epoch_repeats
    )
    rows = common.summarise(times, _ALONE)
    steps = {n: {**r, "candidates": candidates[n]} for n, r in rows.items()}
    epochs = epoch_rows(steps, timed, count)
    result = {
        **{n: FLAGS[n].value for n in _COUNTS},
        "data": _describe(factory, config),
        "step": steps,
        "epoch": epochs,
        "bounds": bounds(steps, epochs, limits),
        "environment": common.environment(),
        "command": _command(),
    }
    common.publish(result, distillation_page.to_markdown(result), FLAGS.output)
    return result


def main() -> None:
    """Runs the benchmark, and fails if a bound does not hold."""
    if not all(row["holds"] for row in run()["bounds"]):
        sys.exit(1)


if __name__ == "__main__":
    console.main(main, GROUPS, __doc__)
