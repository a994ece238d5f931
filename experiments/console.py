"""Shared by all experiment scripts: flags in groups, errors in one line."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence

from absl import app, flags, logging

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.options import FlatConfig, check_renamed
from kd_tfrs.workflow.retrieval.config import Config

FLAGS = flags.FLAGS
_WIDTH = 78
# Flags of options, and the tasks that have them.
_TASKS: dict[str, tuple[str, ...]] = {}


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Suppresses the messages of TensorFlow's import on stderr."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.set_verbosity(logging.WARNING)
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as sink:
        os.dup2(sink.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def define_config_flags(
    *kinds: type[FlatConfig],
) -> dict[str, list[str]]:
    """Defines a flag for every option of a `Config`.

    Args:
        *kinds: further configurations, whose options are flags as well; an
            option that two of them have is one flag, with the default of each.

    Returns:
        Names of the flags by the title of their group, for `main`.
    """
    flags.DEFINE_integer(
        "seed", Config().seed, "Of weights, shuffles, draws and splits.", 0
    )
    groups: dict[str, list[str]] = {"Run": ["seed"]}
    options = [_options(kind) for kind in (Config, *kinds)]
    for name in dict.fromkeys(name for mine in options for name in mine):
        same = [mine[name] for mine in options if name in mine]
        _TASKS[name] = tuple(option.task for option in same)
        groups.setdefault(same[0].title, []).append(name)
        _define(name, same)
    flags.DEFINE_alias("distillation", "distillation_losses")
    flags.DEFINE_bool(
        "list_methods", False, "Print every method of distillation and stop."
    )
    groups["Run"].append("list_methods")
    return groups


@dataclasses.dataclass(frozen=True)
class _Option:
    """A field that becomes a flag."""

    task: str
    title: str
    default: object
    type: object
    meta: Mapping[str, object]


def _options(kind: type[FlatConfig]) -> dict[str, _Option]:
    """The options of a configuration by the names of their flags."""
    found = {}
    for section, prefix in kind.sections.items():
        options = getattr(kind(), section)
        types = typing.get_type_hints(type(options))
        title = (type(options).__doc__ or section).strip().rstrip(".")
        if prefix:
            title = f"{section.replace('_', ' ').capitalize()}: {title}"
        if kind is not Config:
            title = f"{kind.task.capitalize()}. {title}"
        for field in dataclasses.fields(options):
            found[prefix + field.name] = _Option(
                kind.task,
                title,
                getattr(options, field.name),
                types[field.name],
                field.metadata,
            )
    return found


def list_methods() -> str:
    """Every method that `--distillation` can name, one a line."""
    with quiet_imports():
        from kd_tfrs.workflow.ranking import methods as ranking
        from kd_tfrs.workflow.retrieval.methods import METHODS
    methods = METHODS
    if "task" in FLAGS and FLAGS.task == "ranking":
        methods = ranking.RANKING_METHODS
    return "\n".join(
        f"{name:28}{method.kind:12}{method.help} ({method.source}); "
        f"{method.use}"
        for name, method in methods.items()
    )


def _define(name: str, options: Sequence[_Option]) -> None:
    first = options[0]
    text, default = first.meta["help"], first.default
    for other in options[1:]:
        if other.default != default:
            text += f" For {other.task} {_shown(other.default)} by default."
    kinds = typing.get_args(first.type) or (first.type,)
    if "choices" in first.meta and not isinstance(default, tuple):
        # The configuration checks the choices of its own task.
        choices = dict.fromkeys(x for o in options for x in o.meta["choices"])
        flags.DEFINE_enum(name, default, list(choices), text)
    elif bool in kinds:
        flags.DEFINE_bool(name, default, text)
    elif typing.get_origin(first.type) is tuple:
        flags.DEFINE_list(name, [str(item) for item in default], text)
    elif str in kinds:
        flags.DEFINE_string(name, default, text)
    else:
        define = flags.DEFINE_float if float in kinds else flags.DEFINE_integer
        define(name, default, text, *map(first.meta.get, ("low", "high")))


def _shown(default: object) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default)) or "none"
    return "unset" if default is None else str(default)


def config_from_flags(
    kind: type[FlatConfig] = Config, *, alone: bool = True
) -> FlatConfig:
    """The configuration that the flags describe.

    Args:
        kind: configuration of the task.
        alone: refuse flags of other tasks, which would have no effect.

    Returns:
        The configuration.

    Raises:
        UserError: a value is out of range, or a flag is of another task.
    """
    options, flat = _options(kind), {}
    for name, tasks in _TASKS.items():
        if alone and kind.task not in tasks and _is_given(name):
            raise UserError(
                f"`--{name}` is an option of --task={tasks[0]}. Received: it "
                f"with --task={kind.task}. Leave it out."
            )
    for name, default in kind().flat().items():
        if name == "task":
            continue
        # The default of a flag is that of the first task that has it.
        others = _TASKS.get(name, (kind.task,))[0] != kind.task
        value = FLAGS[name].value
        if others and not _is_given(name):
            value = default
        if isinstance(default, list):
            value = _items(name, value, options[name].type)
        flat[name] = value
    return kind.from_flat(flat)


def given_options(task: str) -> list[str]:
    """Flags of a task's options that were given.

    Args:
        task: name of the task.

    Returns:
        Their names.
    """
    return [n for n, tasks in _TASKS.items() if task in tasks and _is_given(n)]


def _is_given(name: str) -> bool:
    flag = FLAGS[name]
    # An alias sets the value, but not `present`.
    return not flag.using_default_value or flag.value != flag.default


def _items(name: str, texts: Sequence[str], kind: object) -> list:
    """The parts of a list, as the option has them."""
    item = typing.get_args(kind)[0]
    if item is str:
        return list(texts)
    return [_number(name, text, item) for text in texts if text]


def _number(name: str, text: str, kind: type) -> int | float:
    try:
        return kind(text)
    except ValueError:
        what, example = {
            int: ("whole numbers", "256,128"),
            float: ("numbers", "1,0.5"),
        }[kind]
        raise UserError(
            f"`--{name}` should be {what} with commas between them. "
            f"Received: {text!r}. Write it as --{name}={example}."
        ) from None


def main(
    run: Callable[[], object], groups: dict[str, list[str]], about: str
) -> None:
    """Parses flags, runs a script, and prints a user's mistake in one line.

    Args:
        run: the script's work.
        groups: flag names by title, for `--help`.
        about: the script's docstring.
    """

    def parse(argv: Sequence[str]) -> list[str]:
        if {"--help", "-help", "-h"} & set(argv[1:]):
            print(_help(about, groups))
            sys.exit(0)
        try:
            rest = FLAGS(argv)
        except flags.Error as error:
            _fail(_flag_mistake(error))
        if rest[1:]:
            _fail(
                "Flags should be written as --name=value. Received: "
                f"{rest[1]!r}. Run with --help to see the flags."
            )
        return rest

    def guarded(argv: Sequence[str]) -> None:
        del argv
        try:
            if "list_methods" in FLAGS and FLAGS.list_methods:
                print(list_methods())
                return
            run()
        except (UserError, ImportError) as error:
            _fail(str(error))
        except KeyboardInterrupt:
            _fail("Stopped. The same command resumes from here.")

    app.run(guarded, flags_parser=parse)


def _flag_mistake(error: flags.Error) -> str:
    try:
        check_renamed([getattr(error, "flagname", "")], "the command line")
    except UserError as renamed:
        return str(renamed)
    return f"{str(error).rstrip('.')}. Run with --help to see the flags."


def _fail(message: str) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def _help(about: str, groups: dict[str, list[str]]) -> str:
    lines = [about.strip(), ""]
    for title, names in groups.items():
        lines += [title, "-" * min(len(title), _WIDTH)]
        for name in names:
            flag = FLAGS[name]
            choices = getattr(flag.parser, "enum_values", None)
            text = flag.help + (
                f" One of: {', '.join(choices)}." if choices else ""
            )
            default = flag.default_as_str
            shown = "" if default is None else f" (default: {default})"
            lines.append(
                flags.text_wrap(
                    f"--{name}: {text}{shown}", _WIDTH, "      ", "  "
                )
            )
        lines.append("")
    lines.append("--flagfile=PATH reads flags from a file, one a line.")
    return "\n".join(lines)
