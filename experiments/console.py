"""What all experiment scripts share: flags in groups, errors in one line."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import typing
from collections.abc import Callable, Iterator, Sequence

from absl import app, flags, logging

from kd_tfrs.errors import UserError
from kd_tfrs.workflow.config import SECTIONS, Config

FLAGS = flags.FLAGS
_WIDTH = 78


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Keeps TensorFlow's greetings off stderr while it is imported."""
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


def define_config_flags() -> dict[str, list[str]]:
    """Defines a flag for every option of a `Config`.

    Returns:
        Names of the flags by the title of their group, for `main`.
    """
    flags.DEFINE_integer(
        "seed", Config().seed, "Of weights, shuffles, draws and splits.", 0
    )
    groups: dict[str, list[str]] = {"Run": ["seed"]}
    for section, prefix in SECTIONS.items():
        options = getattr(Config(), section)
        types = typing.get_type_hints(type(options))
        title = (type(options).__doc__ or section).strip().rstrip(".")
        if prefix:
            title = f"{section.replace('_', ' ').capitalize()}: {title}"
        names = groups.setdefault(title, [])
        for field in dataclasses.fields(options):
            names.append(prefix + field.name)
            _define(
                prefix + field.name,
                getattr(options, field.name),
                types[field.name],
                field.metadata,
            )
    flags.DEFINE_alias("distillation", "distillation_losses")
    flags.DEFINE_bool(
        "list_methods", False, "Print every method of distillation and stop."
    )
    groups["Run"].append("list_methods")
    return groups


def list_methods() -> str:
    """Every method that `--distillation` can name, one a line."""
    with quiet_imports():
        from kd_tfrs.workflow.methods import METHODS
    return "\n".join(
        f"{name:28}{method.kind:12}{method.help} ({method.source}); "
        f"{method.use}"
        for name, method in METHODS.items()
    )


def _define(name: str, default: object, kind: object, meta: dict) -> None:
    text = meta["help"]
    kinds = typing.get_args(kind) or (kind,)
    if "choices" in meta:
        flags.DEFINE_enum(name, default, meta["choices"], text)
    elif bool in kinds:
        flags.DEFINE_bool(name, default, text)
    elif typing.get_origin(kind) is tuple:
        flags.DEFINE_list(name, [str(item) for item in default], text)
    elif str in kinds:
        flags.DEFINE_string(name, default, text)
    else:
        define = flags.DEFINE_float if float in kinds else flags.DEFINE_integer
        define(name, default, text, meta.get("low"), meta.get("high"))


def config_from_flags() -> Config:
    """The `Config` that the flags describe.

    Returns:
        The configuration.

    Raises:
        UserError: a value is out of range.
    """
    flat = {}
    for name, default in Config().flat().items():
        value = FLAGS[name].value
        if name.endswith(("hidden_units", "chain")):
            value = [_integer(name, text) for text in value if text]
        flat[name] = list(value) if isinstance(default, list) else value
    return Config.from_flat(flat)


def _integer(name: str, text: str) -> int:
    if not text.strip().isdecimal():
        raise UserError(
            f"`--{name}` should be whole numbers with commas between them. "
            f"Received: {text!r}. Write it as --{name}=256,128."
        )
    return int(text)


def main(
    run: Callable[[], object], groups: dict[str, list[str]], about: str
) -> None:
    """Parses flags, runs a script, and tells a user's mistake in one line.

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
            _fail(
                f"{str(error).rstrip('.')}. Run with --help to see the flags."
            )
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
            _fail("Stopped. The same command goes on from here.")

    app.run(guarded, flags_parser=parse)


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
