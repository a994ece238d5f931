"""What takes part in a comparison: its flags, and where it may be tuned."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.naming import Named
from kd_tfrs.workflow.options import FlatConfig
from kd_tfrs.workflow.retrieval.methods import METHODS, parse_method

ALONE = "student"
_LOSSES = "distillation_losses"
_LABELS = "distillation_student_loss_weight"
Choices = dict[str, tuple]

# What the given value is multiplied by, or what is tried beside it.
_STEP_FACTORS = (0.5, 1.0, 2.0)
_WEIGHT_FACTORS = (0.3, 1.0, 3.0)
_SIZE_FACTORS = (0.5, 1.0, 2.0)
_TEMPERATURES = (0.1, 0.15, 0.2)
_STUDENT_LOSS_WEIGHTS = (0.2, 0.5, 1.0)
_NEGATIVES = (256, 512)


@dataclasses.dataclass(frozen=True)
class Contender:
    """The student alone, or a method of distillation.

    Args:
        name: "student", a method, or several with a plus between them.
        flat: options by flag name, with the method's own defaults.
        space: choices by flag name, the first one being that of `flat`.
            Losses are one text, as on the command line.

    Example:
    ```python
    contender("soft_targets+rrd", Config()).flags({})
    ```
    """

    name: str
    flat: dict[str, Any]
    space: Choices

    @property
    def stage(self) -> str:
        """The stage of the workflow that trains it."""
        return ALONE if self.name == ALONE else "distilled"

    @property
    def folder(self) -> str:
        """Its name where colons are not welcome."""
        return self.name.replace(":", "=")

    @property
    def first(self) -> dict[str, Any]:
        """The point of the space that was given."""
        return {name: choices[0] for name, choices in self.space.items()}

    def flags(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """All options at a point of the space.

        Args:
            point: values by flag name.

        Returns:
            Options by flag name, for `Config.from_flat`.
        """
        changes = dict(point)
        losses = changes.get(_LOSSES)
        if isinstance(losses, str):
            changes[_LOSSES] = losses.split(",")
        return {**self.flat, **changes}


@dataclasses.dataclass(frozen=True)
class Family:
    """The methods of one kind of model, and where its trainings are tuned.

    Args:
        methods: by name; each has `defaults` and `tunes` by option.
        parse: reads a method as it is written on the command line.
        alone: choices for the student alone, from the given flags.
        distilled: choices for every distilled student beside those of its
            methods, likewise.
    """

    methods: Mapping[str, Any]
    parse: Callable[[str], Named]
    alone: Callable[[Mapping[str, Any]], Choices]
    distilled: Callable[[Mapping[str, Any]], Choices] = lambda flat: {}


def contender(
    name: str, config: FlatConfig, family: Family | None = None
) -> Contender:
    """Looks a contender up.

    Args:
        name: "student", the name of a method, or several with a plus between
            them; each as on the command line, "soft_targets@ease:0.5+rrd".
        config: options that are not the method's own.
        family: methods to choose from; those of retrieval when `None`.

    Returns:
        The contender.

    Raises:
        UserError: a method is unknown, or two want other things.

    Example:
    >>> contender("student", Config()).stage
    'student'
    """
    flat, family = config.flat(), family or _retrieval()
    if name == ALONE:
        return Contender(name, flat, family.alone(flat))
    changes: dict[str, Any] = {}
    tunes: Choices = {}
    losses = []
    for part in name.split("+"):
        loss, options, choices = _method(part, flat, family)
        losses.append(loss)
        _merge(changes, options, name)
        tunes.update(choices)
    flat = {**flat, **changes, _LOSSES: losses}
    if flat[_LABELS] is None:
        # Unset, it is that of methods that are named.
        flat[_LABELS] = _STUDENT_LOSS_WEIGHTS[0]
    # A mistake shows before anything trains.
    type(config).from_flat(flat)
    space = _distilled_space(flat, {**family.distilled(flat), **tunes})
    return Contender(name, flat, space)


def contenders(
    names: Sequence[str], config: FlatConfig, family: Family | None = None
) -> list[Contender]:
    """Looks all contenders up; the student alone is always one.

    Args:
        names: see `contender`; "all" stands for every method there is.
        config: see `contender`.
        family: see `contender`.

    Returns:
        The contenders, the student alone first, each once.

    Raises:
        UserError: a method is unknown, or there is none.
    """
    asked: list[str] = []
    family = family or _retrieval()
    for name in names:
        asked += list(family.methods) if name == "all" else [name.strip()]
    if not any(asked):
        raise UserError(
            "`--methods` should name the methods to compare. Received: none. "
            "Write --methods=all, or --methods=student,soft_targets."
        )
    unique = dict.fromkeys([ALONE, *filter(None, asked)])
    return [contender(name, config, family) for name in unique]


def _retrieval() -> Family:
    return Family(METHODS, lambda x: parse_method(x, METHODS), _alone_space)


def _method(
    part: str, flat: Mapping[str, Any], family: Family
) -> tuple[str, dict[str, Any], Choices]:
    """Loss with weight, default options and choices, all by flag name."""
    try:
        named = family.parse(part)
    except UserError as error:
        message = str(error).replace("--distillation_losses", "--methods")
        raise UserError(message) from None
    method = family.methods[named.method]
    name, _, weight = part.partition(":")
    options = {_flag(k, flat): v for k, v in method.defaults.items()}
    default = options.pop("weight", 1.0)
    # A weight that was given for this very method counts more.
    given = dict(t.partition(":")[::2] for t in flat[_LOSSES] if ":" in t)
    weight = weight or given.get(name) or format(default, "g")
    choices = {_flag(k, flat): tuple(v) for k, v in method.tunes.items()}
    return f"{name}:{weight}", options, choices


def _flag(option: str, flat: Mapping[str, Any]) -> str:
    """The flag of a method's option; its weight has none of its own."""
    if option == "weight" or option in flat:
        return option
    return f"distillation_{option}"


def _merge(changes: dict[str, Any], more: dict[str, Any], name: str) -> None:
    for flag, value in more.items():
        if changes.setdefault(flag, value) != value:
            raise UserError(
                f"`--methods` should combine methods that want the same. "
                f"Received: {name}, where --{flag} is {changes[flag]!r} for "
                f"one and {value!r} for another. Compare them one by one."
            )


def _alone_space(flat: Mapping[str, Any]) -> Choices:
    return {
        "student_learning_rate": scaled(flat["student_learning_rate"]),
        "student_softmax_temperature": first_of(
            flat["student_softmax_temperature"], _TEMPERATURES
        ),
        "student_uniform_negatives": sizes(
            flat["student_uniform_negatives"], _NEGATIVES
        ),
        "student_batch_size": sizes(flat["student_batch_size"]),
    }


def _distilled_space(flat: Mapping[str, Any], tunes: Choices) -> Choices:
    space = {
        "distilled_learning_rate": scaled(flat["distilled_learning_rate"]),
        _LOSSES: _scaled_losses(flat[_LOSSES]),
        _LABELS: first_of(flat[_LABELS], _STUDENT_LOSS_WEIGHTS),
    }
    tuned = {k: first_of(flat[k], v) for k, v in tunes.items()}
    return {**space, **tuned}


def _scaled_losses(losses: Sequence[str]) -> tuple[str, ...]:
    """All losses louder and softer together."""
    parts = [text.partition(":") for text in losses]
    texts = [
        ",".join(f"{n}:{float(w or 1) * factor:.4g}" for n, _, w in parts)
        for factor in _WEIGHT_FACTORS
    ]
    return first_of(",".join(losses), texts)


def scaled(
    value: float, factors: Sequence[float] = _STEP_FACTORS
) -> tuple[float, ...]:
    """A value, and multiples of it, for a search."""
    return first_of(value, [float(f"{value * f:.4g}") for f in factors])


def sizes(value: int, instead_of_none: Sequence[int] = ()) -> tuple[int, ...]:
    """A whole number, half of it and twice as much, for a search."""
    others = [round(value * factor) for factor in _SIZE_FACTORS]
    return first_of(value, others if value > 1 else instead_of_none)


def first_of(value: Any, others: Sequence[Any]) -> tuple:
    """The given value, and the others once each, for a search."""
    return tuple(dict.fromkeys([value, *others]))
