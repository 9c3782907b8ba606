"""The house: each room looks only at those after it, and no file at itself by a way round."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

ROOMS = (
    ("anglos.__main__",),
    ("anglos.tools",),
    ("anglos.plot",),
    ("anglos",),
    ("anglos.mining", "anglos.classes", "anglos.memory"),
    ("anglos.losses",),
    ("anglos.define",),
    ("anglos.checks",),
    ("anglos.training", "anglos.evaluate"),
    ("anglos.call",),
    ("anglos.engines.prototypes", "anglos.engines.pairs"),
    ("anglos.engines",),
    ("anglos.arrays",),
)
"""Each looks at itself and at those after it; two in one line do not look at each other."""

DOORS = {"anglos.losses": {"anglos.define"}}
"""Rooms whose files look at no more than this: not even at files beside them."""

TO_AN_ADAPTER = {
    "anglos.arrays.dispatch": "finds the adapter of an array, when the first of its library arrives",
    "anglos.checks": "shards classes over JAX's devices",
    "anglos.tools": "trains and measures in a library that is asked for by name",
    "anglos.backends.torch": "computes small calls in NumPy",
    "anglos.backends.flax": "its arrays are JAX's",
    "anglos.backends.equinox": "its arrays are JAX's",
}
"""Who may look at another library's adapter, and why."""


def modules() -> dict[str, Path]:
    """Every file of the package, by the name it is imported by."""
    found = {}
    for folder, package in (("anglos", ("anglos",)), ("backends", ("anglos", "backends"))):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            if parts[0] != "backends":  # a link to the other folder, in a copy that is not installed
                found[".".join((*package, *parts)).removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imports(name: str) -> set[str]:
    """The modules of the package that a file imports, in functions and for type checkers too."""
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            beside = package.split(".")[:len(package.split(".")) + 1 - node.level] if node.level else []
            found |= {".".join((*beside, *filter(None, [node.module]), alias.name)) for alias in node.names}
    return set(filter(None, map(module_of, found))) - {name}


def module_of(name: str) -> str:
    """Where a name comes from: "" is not here."""
    return name if name in MODULES or not name else module_of(name.rpartition(".")[0])


def within(name: str, rooms: Iterator[str]) -> str:
    """The smallest of the rooms that a module is in, or ""."""
    return max((room for room in rooms if f"{name}.".startswith(f"{room}.")), key=len, default="")


def room_of(name: str) -> tuple[int, str]:
    """How far down, and which."""
    room = within(name, (room for row in ROOMS for room in row))
    return next(level for level, row in enumerate(ROOMS) if room in row), room


def may_look(name: str, other: str) -> bool:
    adapter, of_adapter = (".".join(one.split(".")[:3]) if one.startswith("anglos.backends") else ""
                           for one in (name, other))
    if of_adapter:
        return adapter == of_adapter or bool(within(name, iter(TO_AN_ADAPTER)))
    if adapter:
        return room_of(other) >= room_of("anglos.training")
    (level, room), (below, where) = room_of(name), room_of(other)
    door = DOORS.get(room) if name != room else None  # the catalogue of a room looks at its files
    return other in door if door else room == where or level < below


def test_a_room_looks_only_at_those_after_it() -> None:
    wrong = {name: sorted(other for other in imports(name) if not may_look(name, other)) for name in MODULES}
    assert {name: others for name, others in wrong.items() if others} == {}


def test_no_file_imports_itself_by_a_way_round() -> None:
    """But for adapters, which are imported when an array arrives."""
    left = {name: {other for other in imports(name) if may_be_circle(name, other)} for name in MODULES}
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    assert {name: sorted(others & left.keys()) for name, others in left.items()} == {}


def may_be_circle(name: str, other: str) -> bool:
    return name != "anglos.arrays.dispatch" or not other.startswith("anglos.backends")


def test_engines_know_what_a_backend_is() -> None:
    """As `Any` a type checker would see none of its hooks."""
    wrong = [f"{name}:{node.lineno}" for name, path in MODULES.items() if room_of(name) >= room_of("anglos.call")
             for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, (ast.arg, ast.AnnAssign))
             and ast.unparse(node) in ("backend: Any", "engine: Any")]
    assert wrong == []
