"""The contenders of a comparison: their flags and their search spaces."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.naming import Named
from kd_tfrs.workflow.options import FlatConfig

ALONE = "student"
TEACHER = "teacher"
DISTILLED = "distilled"
_LOSSES = "distillation_losses"
_LABELS = "distillation_student_loss_weight"
Choices = dict[str, tuple]

# Factors of the given value, or values beside it.
_STEP_FACTORS = (0.5, 1.0, 2.0)
_WEIGHT_FACTORS = (0.3, 1.0, 3.0)
_SIZE_FACTORS = (0.5, 1.0, 2.0)
_STUDENT_LOSS_WEIGHTS = (0.2, 0.5, 1.0)


@dataclasses.dataclass(frozen=True)
class Contender:
    """The student alone, or a method of distillation.

    Args:
        name: "student", a method, or several with a plus between them.
        flat: options by flag name, with the method's own defaults.
        space: choices by flag name; the first choice is that of `flat`.
            Losses are one string, as on the command line.
        stage: the stage of the workflow that trains it.

    Example:
    ```python
    contender("soft_targets+rrd", Config(), FAMILY).flags({})
    ```
    """

    name: str
    flat: dict[str, Any]
    space: Choices
    stage: str = DISTILLED

    @property
    def folder(self) -> str:
        """The name of its folders."""
        return folder_name(self.name)

    @property
    def first(self) -> dict[str, Any]:
        """The point of the given flags."""
        return {name: choices[0] for name, choices in self.space.items()}

    def flags(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """All options at a point of the space."""
        changes = dict(point)
        losses = changes.get(_LOSSES)
        if isinstance(losses, str):
            changes[_LOSSES] = losses.split(",")
        return {**self.flat, **changes}


@dataclasses.dataclass(frozen=True)
class Family:
    """The methods of a task, and the search spaces of its trainings.

    Args:
        methods: by name; each has `defaults` and `tunes` by option.
        parse: reads a method as it is written on the command line.
        training: choices for the training of a stage ("teacher", "student" or
            "distilled"), from the given flags.
        distillation: choices by flag name for a search of one stage.
        distilled: choices for every distilled student beside those of its
            methods, from the given flags.
    """

    methods: Mapping[str, Any]
    parse: Callable[[str], Named]
    training: Callable[[str, Mapping[str, Any]], Choices]
    distillation: Mapping[str, tuple] = dataclasses.field(default_factory=dict)
    distilled: Callable[[Mapping[str, Any]], Choices] = lambda flat: {}


def folder_name(name: str) -> str:
    """The name of a model as a folder.

    Example:
    >>> folder_name("soft_targets:0.5 pruned")
    'soft_targets=0.5~pruned'
    """
    return name.replace(":", "=").replace(" ", "~")


def contender(name: str, config: FlatConfig, family: Family) -> Contender:
    """Makes a contender of its name.

    Args:
        name: "student", the name of a method, or several with a plus between
            them; each as on the command line, "soft_targets@ease:0.5+rrd".
        config: options that are not the method's own.
        family: methods of the task.

    Returns:
        The contender.

    Raises:
        UserError: a method is unknown, or two methods need different options.

    Example:
    ```python
    contender("student", Config(), FAMILY).stage
    ```
    """
    flat = config.flat()
    if name == ALONE:
        return Contender(name, flat, family.training(ALONE, flat), ALONE)
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
        flat[_LABELS] = _STUDENT_LOSS_WEIGHTS[0]
    type(config).from_flat(flat)  # Checks the options before training.
    space = _distilled_space(flat, {**family.distilled(flat), **tunes})
    return Contender(name, flat, space)


def contenders(
    names: Sequence[str], config: FlatConfig, family: Family
) -> list[Contender]:
    """Makes all contenders; the student alone is always one.

    Raises:
        UserError: a method is unknown, or there is none.
    """
    expanded: list[str] = []
    for name in names:
        expanded += list(family.methods) if name == "all" else [name.strip()]
    if not any(expanded):
        raise UserError(
            "`--methods` should name the methods to compare. Received: none. "
            "Write --methods=all, or --methods=student,soft_targets."
        )
    unique = dict.fromkeys([ALONE, *filter(None, expanded)])
    return [contender(name, config, family) for name in unique]


def tuned_contender(
    stage: str, config: FlatConfig, family: Family
) -> Contender:
    """A contender for a search of one stage over many flags."""
    flat = config.flat()
    space = family.training(stage, flat)
    if stage == DISTILLED:
        for name, choices in family.distillation.items():
            space[name] = first_of(flat[name], choices)
        space[_LOSSES] = _scaled_losses(flat[_LOSSES])
    return Contender(stage, flat, space, stage)


def _method(
    part: str, flat: Mapping[str, Any], family: Family
) -> tuple[str, dict[str, Any], Choices]:
    """Loss with its weight, default options and choices by flag name."""
    try:
        named = family.parse(part)
    except UserError as error:
        message = str(error).replace("--distillation_losses", "--methods")
        raise UserError(message) from None
    method = family.methods[named.method]
    name, _, weight = part.partition(":")
    options = {_flag(k, flat): v for k, v in method.defaults.items()}
    default = options.pop("weight", 1.0)
    # A weight that is given for this method takes precedence.
    given = dict(t.partition(":")[::2] for t in flat[_LOSSES] if ":" in t)
    weight = weight or given.get(name) or format(default, "g")
    choices = {_flag(k, flat): tuple(v) for k, v in method.tunes.items()}
    return f"{name}:{weight}", options, choices


def _flag(option: str, flat: Mapping[str, Any]) -> str:
    """The flag of a method's option; the weight has no flag."""
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


def _distilled_space(flat: Mapping[str, Any], tunes: Choices) -> Choices:
    space = {
        "distilled_learning_rate": scaled(flat["distilled_learning_rate"]),
        _LOSSES: _scaled_losses(flat[_LOSSES]),
        _LABELS: first_of(flat[_LABELS], _STUDENT_LOSS_WEIGHTS),
    }
    tuned = {k: first_of(flat[k], v) for k, v in tunes.items()}
    return {**space, **tuned}


def _scaled_losses(losses: Sequence[str]) -> tuple[str, ...]:
    """The weights of all losses, scaled together."""
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
