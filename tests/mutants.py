r"""Plants small errors in the library and counts those that tests notice.

A seeded sample over losses, metrics, splits and the exclusion of seen items:
one changed operator, constant, condition, order of arguments or statement each
time, and the test files nearest to its module. What the file of results has
is not run again:

    python tests/mutants.py --count=300 --out=runs/mutants.json
    python tests/mutants.py --count=300 --out=runs/mutants.json --again

The second command runs the survivors once more, with the tests as they are
now; one that is marked by hand, `"last": "equivalent"`, stays so. The markdown
beside the file of results has the score and the survivors.
TensorFlow is imported once; every mutant runs in a fork of that process. Time
is the processor's, so that a busy machine makes nobody time out.
"""

import argparse
import ast
import importlib
import importlib.abc
import importlib.util
import json
import os
import pathlib
import random
import resource
import signal
import sys
import tempfile
import time

from nearest import nearest_tests

ROOT = pathlib.Path(__file__).resolve().parents[1]
LIMIT, SLOW = 90, 30  # seconds: of a mutant, of a test file
PATTERNS = """
distillation/**/losses/*.py distillation/**/candidates/*.py
distillation/**/ranking/*.py distillation/**/*terms*.py
evaluation/**/*metrics*.py evaluation/**/*statistics*.py
evaluation/**/*calibration*.py evaluation/**/*protocol*.py
evaluation/**/catalogue.py evaluation/**/held_out.py evaluation/**/sampled.py
data/**/*splits*.py serving/**/recommender.py
"""
EITHER = "Lt LtE Gt GtE Eq NotEq Is IsNot In NotIn Add Sub Mult Div"
EITHER = f"{EITHER} BitAnd BitOr And Or".split()
SWAPS = {"Pow": "Mult", "FloorDiv": "Mult", "Mod": "FloorDiv"}
SWAPS |= dict(zip(EITHER[::2], EITHER[1::2], strict=True))
SWAPS |= dict(zip(EITHER[1::2], EITHER[::2], strict=True))
SWAPS = {getattr(ast, a): getattr(ast, b) for a, b in SWAPS.items()}
# Their arguments are of two kinds, or the same in either order.
TYPED = "cast reshape gather isinstance getattr hasattr maximum minimum"
TYPED = {*TYPED.split(), "logical_and", "logical_or"}
PLAIN = (ast.Constant, ast.Starred, ast.List, ast.Tuple, ast.Lambda)
LATE = (signal.SIGXCPU, signal.SIGKILL)
AGAIN = ("survived", "timed out")
OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "-m", "not slow")
IMPORTED = ("matplotlib.figure", "scipy.stats", "tensorflow_recommenders")


def visible(node):
    """Nodes that may change: no messages, docstrings or annotations."""
    called = getattr(getattr(node, "func", None), "id", "")
    type_checking = isinstance(node, ast.If) and "TYPE_" in ast.dump(node.test)
    messages = (ast.Raise, ast.JoinedStr, ast.ImportFrom)
    if isinstance(node, messages) or called.endswith("Error") or type_checking:
        return
    yield node
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from visible(child)


def changes(node):
    """What may stand instead of a node: kind, the part, and its new text."""
    text = ast.unparse
    new = SWAPS.get(type(getattr(node, "op", None)), ast.Add)()
    match node:
        case ast.Compare(ops=[op]) if type(op) in SWAPS:
            new = SWAPS[type(op)]()
            new = ast.Compare(node.left, [new], node.comparators)
            yield "comparison", node, text(new)
        case ast.BinOp(op=op) if type(op) in SWAPS and "'" not in text(node):
            new = ast.BinOp(node.left, new, node.right)
            yield "arithmetic", node, text(new)
        case ast.BoolOp():
            yield "and/or", node, text(ast.BoolOp(new, node.values))
        case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert()):
            yield "unary dropped", node, text(node.operand)
        case ast.Constant(value=value) if type(value) in (int, float):
            yield "constant", node, repr(value + 1)
        case ast.AugAssign():
            yield "assignment dropped", node, "pass"
        case ast.Call(func=func, args=[_, _, *_]):
            name = getattr(func, "attr", getattr(func, "id", ""))
            at = int(name == "where" and len(node.args) == 3)
            args, pair = list(node.args), node.args[at : at + 2]
            plain = any(isinstance(a, PLAIN) for a in pair) and not at
            if name not in TYPED and not plain:
                args[at : at + 2] = pair[::-1]
                new = ast.Call(func, args, node.keywords)
                yield "arguments", node, text(new)
        case ast.If(test=test) | ast.IfExp(test=test):
            yield "condition", test, f"not ({text(test)})"
        case ast.Return(value=ast.BinOp() as value) if "'" not in text(value):
            yield "return", value, f"-({text(value)})"


def mutants(root):
    """All of them: where, what, and the source with it."""
    package = root / "kd_tfrs"
    paths = {p for x in PATTERNS.split() for p in package.glob(x)}
    for path in sorted(p for p in paths if p.name != "__init__.py"):
        code = path.read_bytes()
        starts = [0]
        for line in code.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        name = path.relative_to(root).as_posix()
        for node in visible(ast.parse(code)):
            for kind, at, new in changes(node):
                first = starts[at.lineno - 1] + at.col_offset
                last = starts[at.end_lineno - 1] + at.end_col_offset
                place = f"{at.lineno}:{at.col_offset}+{last - first}"
                new = new if new == "pass" else f"({new})"
                source = code[:first] + new.encode() + code[last:]
                yield {
                    "id": f"{name}:{place}:{kind}",
                    "was": " ".join(code[first:last].decode().split()),
                    "now": new,
                    "source": source.decode(),
                }


class Planted(importlib.abc.MetaPathFinder):
    """Imports a module from a changed file, which AutoGraph reads as well."""

    def __init__(self, file, source, folder):
        self.name = file.removesuffix(".py").replace("/", ".")
        # A new name each time: bytecode is cached by name.
        self.path = pathlib.Path(folder, f"{time.time_ns()}.py")
        self.path.write_text(source)

    def find_spec(self, fullname, path=None, target=None):
        if fullname == self.name:
            return importlib.util.spec_from_file_location(fullname, self.path)
        return None


def run(root, tests, planted=None):
    """Runs tests in a fork of this process, which has TensorFlow."""
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT + 5))
            log = os.open(root / ".mutants.log", os.O_CREAT | os.O_WRONLY)
            os.ftruncate(log, 0)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.chdir(root)
            sys.meta_path[:0] = [planted] if planted else []
            names = [str(root / "tests" / t) for t in tests]
            code = pytest.main([*OPTIONS, *names])
        finally:
            os._exit(int(code))
    _, status, usage = os.wait4(pid, 0)
    state = "killed" if status else "survived"
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in LATE:
        state = "timed out"
    return state, round(usage.ru_utime + usage.ru_stime, 1)


def markdown(rows):
    """The score, and who survived."""
    lines = []
    for when in ("first", "last"):
        states = [r[when] for r in rows]
        counts = ", ".join(f"{s} {states.count(s)}" for s in sorted({*states}))
        share = states.count("killed") / max(len(rows), 1)
        lines.append(f"- {when}: {share:.1%} of {len(rows)} noticed ({counts})")
    lines += ["", "| Not noticed | Was | Now | State |", "|---|---|---|---|"]
    for r in rows:
        if r["last"] != "killed":
            cells = [f"`{r[k][:90]}`" for k in ("id", "was", "now", "last")]
            cells = [cell.replace("|", "\\|") for cell in cells]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main():
    """Runs the sample, see the module."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=pathlib.Path, default=ROOT)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--files", type=int, default=4, help="of tests, each")
    parser.add_argument("--again", action="store_true", help="run survivors")
    flags = parser.parse_args()
    root, out = flags.root.resolve(), flags.out
    out.parent.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(root))
    every, nearest = list(mutants(root)), nearest_tests(root)
    done = json.loads(out.read_text()) if out.exists() else {}
    scratch = tempfile.TemporaryDirectory()
    # Test files that pass by themselves; others notice nothing.
    passing = out.with_suffix(".tests.json")
    sound = json.loads(passing.read_text()) if passing.exists() else {}
    for mutant in random.Random(flags.seed).sample(every, flags.count):
        source, file = mutant.pop("source"), mutant["id"].partition(":")[0]
        before = done.get(mutant["id"], {})
        if before and not (flags.again and before["last"] in AGAIN):
            continue
        tests = []
        for test in nearest[file]:
            if len(tests) == flags.files:
                break
            key = f"{test} {(root / 'tests' / test).stat().st_mtime_ns}"
            if key not in sound:
                state, seconds = run(root, [test])
                sound[key] = state == "survived" and seconds < SLOW
                passing.write_text(json.dumps(sound, indent=1))
                print(test, state, seconds, flush=True)
            tests += [test] * sound[key]
        state, seconds = "survived", 0.0
        if tests:
            planted = Planted(file, source, scratch.name)
            state, seconds = run(root, tests, planted)
        told = {"first": before.get("first", state), "last": state}
        done[mutant["id"]] = {**mutant, **told, "tests": tests}
        print(len(done), mutant["id"], state, seconds, flush=True)
        out.write_text(json.dumps(done, indent=1))
        out.with_suffix(".md").write_text(markdown(list(done.values())))


if __name__ == "__main__":
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    sys.modules["scann"] = None  # See kd_tfrs/keras_guard.py.
    import pytest
    import tensorflow as tf

    for name in IMPORTED:
        importlib.import_module(name)
    tf.keras.layers  # noqa: B018  loads it
    main()
