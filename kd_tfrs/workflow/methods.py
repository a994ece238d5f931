"""What a method of distillation is, and how its terms are built."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kd_tfrs.workflow.naming import Named

if TYPE_CHECKING:
    from kd_tfrs.distillation import DistillationTerm
    from kd_tfrs.distillation.schedules import Scheduled


@dataclasses.dataclass(frozen=True)
class Setting:
    """The run for which a method makes its terms; a task is a subclass.

    Args:
        options: of distillation, as they were given.
        num_steps: training steps in all.
    """

    options: Any
    num_steps: int

    def temperature(self, default: float = 1.0) -> Scheduled:
        """The temperature that was given, or the default of a method."""
        options = self.options
        start = default if options.temperature is None else options.temperature
        if options.final_temperature is None:
            return start
        import tensorflow as tf

        return tf.keras.optimizers.schedules.PolynomialDecay(
            start, self.num_steps, options.final_temperature
        )


Build = Callable[[Any], "list[DistillationTerm]"]


@dataclasses.dataclass(frozen=True)
class Method:
    """A named method of distillation.

    Args:
        help: one line.
        source: paper.
        terms: makes its terms from the `Setting` of a task.
        use: when to use it, by what was measured here.
        defaults: options that differ from those of the run, and its `weight`.
        tunes: choices by option for a search.
        teacher: its teacher where none is named.
        auxiliary: the student needs `with_auxiliary_head`; of rankers.
        sessions: the batches have to be `SessionBatches`; of rankers.
        shares: of the method's weight, one for each term; equal if empty.
        beside: the method that a comparison adds to it, where it does not
            learn the order of the labels.
        kind: response, list-wise, features, relations, adversarial, adaptive
            or tasks; see `of_kind`.
    """

    help: str
    source: str
    terms: Build
    use: str
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    tunes: Mapping[str, tuple] = dataclasses.field(default_factory=dict)
    teacher: str = "teacher"
    auxiliary: bool = False
    sessions: bool = False
    shares: tuple[float, ...] = ()
    beside: str = ""
    kind: str = ""

    @property
    def by_task(self) -> bool:
        """Whether one task of several may be named to it."""
        return self.kind in ("response", "list-wise", "tasks")

    def weights(self, weight: float, count: int) -> list[float]:
        """Weights of `count` terms, which share that of the method."""
        shares = self.shares or (1.0 / count,) * count
        return [weight * share for share in shares]


def of_kind(kind: str, methods: Mapping[str, Method]) -> dict[str, Method]:
    """Methods with their kind."""
    return {
        name: dataclasses.replace(method, kind=kind)
        for name, method in methods.items()
    }


def build_terms(
    names: Sequence[str],
    parse: Callable[[str], Named],
    known: Mapping[str, Method],
    make: Callable[[Named], list[DistillationTerm]],
) -> tuple[list[DistillationTerm], list[float]]:
    """Terms and weights for a distiller.

    Args:
        names: as on the command line.
        parse: reads a name.
        known: methods by name.
        make: the terms of a method.

    Raises:
        UserError: a method is unknown, or its weight is no number.
    """
    terms: list[DistillationTerm] = []
    weights: list[float] = []
    for named in map(parse, names):
        made = make(named)
        terms += made
        weights += known[named.method].weights(named.weight, len(made))
    return terms, weights
