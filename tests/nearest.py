"""Which test files stand nearest to a module, by what they import."""

import ast

LONG = ("workflow", "experiments", "notebooks", "export")  # Rooms of tests.


def nearest_tests(root):
    """The test files of every library file, the most specific first.

    Those that mirror its name come first, then those that name it or most of
    what it defines, then those that reach it through other modules. Where
    nobody does, all of its room.
    """
    trees, defined = {}, {}
    for path in (root / "kd_tfrs").rglob("*.py"):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        trees[name] = ast.parse(path.read_text())
        own = {getattr(n, "name", "_") for n in trees[name].body}
        defined[name] = {x for x in own if not x.startswith("_")}

    def touched(tree):
        """Modules by name or by a name that a room passes on; all names."""
        modules, names = set(), set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                names |= {a.name for a in node.names}
                modules |= {f"{node.module}.{a.name}" for a in node.names}
                modules.add(node.module)
            elif isinstance(node, ast.Attribute):
                names.add(node.attr)
            elif isinstance(node, ast.Constant):
                names.add(node.value)  # A test may ask for a name by text.
        rooms = tuple(f"{m}." for m in modules if m.startswith("kd_tfrs."))
        passed = {
            m for m in trees if m.startswith(rooms) and names & defined[m]
        }
        return passed | (modules & {*trees}), names

    users = {name: touched(tree)[0] for name, tree in trees.items()}
    ranked = {name: [] for name in trees}
    for test in sorted((root / "tests").rglob("test_*.py")):
        where = test.relative_to(root / "tests").with_suffix("").parts
        front, names = touched(ast.parse(test.read_text()))
        direct, away = len(front), {}
        for distance in range(3):
            away.update(dict.fromkeys(front, distance))
            front = {u for m in front for u in users[m]} - {*away}
        for name, distance in away.items():
            parts = name.split(".")[1:]
            same = sum(a == b for a, b in zip(where, parts, strict=False))
            mirror = where[-1].startswith(f"test_{parts[-1]}")
            path = test.relative_to(root / "tests").as_posix()
            more = -len(names & defined[name])
            rank = (not mirror, distance, more, -same, direct, path)
            if where[0] not in LONG and (same or not distance):
                ranked[name].append(rank)
    found = {}
    for name, ranks in ranked.items():
        room = root / "tests" / name.partition(".")[2].partition(".")[0]
        anyone = (p.relative_to(root / "tests") for p in room.rglob("test_*"))
        near = [rank[-1] for rank in sorted(ranks)]
        near = near or sorted(p.as_posix() for p in anyone)
        found[name.replace(".", "/") + ".py"] = near
    return found
