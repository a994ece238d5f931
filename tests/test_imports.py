"""Shared code imports no task, and no modules import each other in a circle."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "kd_tfrs"
TASKS = ("retrieval", "ranking")
# These join both tasks.
JOINTS = (
    "kd_tfrs.distillers",
    "kd_tfrs.functions",
    "kd_tfrs.workflow.pipeline",
    "kd_tfrs.serving.recommender",
)


def name_of(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


def task_of(module):
    """The task of a module `kd_tfrs.<room>.<task>...`; `None` if shared."""
    part = [*module.split("."), "", ""][2]
    return part if part in TASKS else None


def imports_of(module, *, top_level=False):
    """Modules of this package that a module imports, wherever it does so."""
    tree = ast.parse(MODULES[module].read_text())
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found = name if name in MODULES else node.module
                if found in MODULES and found != module:
                    yield found


@pytest.mark.parametrize("module", [m for m in MODULES if not task_of(m)])
def test_shared_modules_import_no_task(module):
    if module.startswith(JOINTS):
        return
    assert [name for name in imports_of(module) if task_of(name)] == []


def test_no_circle_of_imports():
    """Depth first: a module that is met again on the way is in a circle."""
    done, circles = set(), []

    def visit(module, way):
        if module in way:
            circles.append([*way[way.index(module) :], module])
        elif module not in done:
            for name in imports_of(module):
                # A package's own __init__ lists its modules.
                if not module.startswith(f"{name}."):
                    visit(name, [*way, module])
            done.add(module)

    for module in MODULES:
        if MODULES[module].name != "__init__.py":
            visit(module, [])
    assert circles == []
