"""How fast the stages of a ranking run answer, measured at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kd_tfrs.distillation.ranking import RankingTeacher
from kd_tfrs.export.signature_functions import input_keys
from kd_tfrs.models.ranking import RankingModel
from kd_tfrs.workflow.latencies import exported_latency
from kd_tfrs.workflow.ranking import measure
from kd_tfrs.workflow.ranking.prepare import RankingPrepared

_REQUESTS = 10


def measure_latencies(
    teacher: tuple[RankingTeacher, Sequence[RankingModel]],
    students: Mapping[str, RankingModel],
    prepared: RankingPrepared,
    *,
    candidates: int,
    seconds: float,
) -> dict[str, Any]:
    """Times the logits of one user's candidates by every stage, in turns.

    All stages are sent the same encoded features, and take those that they
    look at. An export with float32 tables in memory answers as fast as the
    network that it was made from.

    Args:
        teacher: all networks that teach, together, and each of them.
        students: models by the name of the stage.
        prepared: for users and candidates.
        candidates: scored by each call.
        seconds: to be measured.

    Returns:
        "rows": by stage, "teacher" among them, see `ServedLatency`;
        "warning": what other processes took meanwhile, or `None`.
    """
    outputs, members = teacher
    specs = measure.input_specs([*members, *students.values()])
    keys = input_keys(specs)
    requests = []
    for seed in range(_REQUESTS):
        sent = measure.request(prepared, tuple(specs), candidates, seed)
        requests.append({keys[name]: x for name, x in sent.items()})
    functions = {"teacher": measure.serving_teacher(outputs, members, specs)}
    for name, model in students.items():
        functions[name] = measure.serving(model, specs)
    found = exported_latency(
        functions,
        measure.save_serving,
        requests,
        reference="teacher",
        seconds=seconds,
    )
    return {"rows": found.rows, "warning": found.contention.warning}
