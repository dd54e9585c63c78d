"""The rooms of the package and who may enter whom, read from the code's own imports."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import composite_lab

PACKAGE = Path(composite_lab.__file__).parent
# From the ground up. A module may import modules of lower floors, and of its own if that makes no circle. A
# room without a floor for each of its modules has them all on one.
FLOORS = [
    ["errors", "interrupts", "loop", "redaction", "thoughts"],
    ["seats", "trace.call", "trace.verdict", "trace.summary", "trace.reasoning", "trace.frames",
     "trace.model", "trace.events", "trace.sink", "trace.otel", "strategies.ranking", "strategies.prompts",
     "strategies.parsing", "strategies.ballots", "strategies.rubric", "strategies.forms", "strategies.rules",
     "strategies.kemeny", "strategies.tally", "strategies.agreement", "strategies.orders",
     "strategies.history", "strategies.conversation"],
    ["replies", "gateway.place", "gateway.retrying", "gateway.models", "gateway.memory", "gateway.quiet",
     "gateway.plainness", "gateway.toolcalls", "gateway.tap", "gateway.assembly", "gateway.mending",
     "gateway.attempt", "gateway.gateway"],
    ["tools"],
    ["strategies.stage", "strategies.reasoning", "strategies.run", "strategies.handle", "strategies.base",
     "strategies.replay"],
    ["strategies.review", "strategies.canary", "strategies.verdict"],
    ["strategies.moa", "strategies.council", "strategies.single"],
    ["profiles.document", "profiles.references", "profiles.file", "profiles.registry", "profiles.schema"],
    ["provider.remote", "provider.parameters", "provider.request", "provider.answer", "provider.errors",
     "provider.hooks"],
    ["batch"],
    ["notebook", "serving"],
    ["terminal", "commands", "cli"],
]  # fmt: skip
ONLY_IN = {
    "litellm": {"gateway", "provider"},
    "openai": {"provider"},
    "rich": {"terminal", "commands"},
    "typer": {"cli", "commands"},
    "pandas": {"trace.frames", "batch", "notebook"},
    "scipy": {"batch", "strategies.agreement"},
    "statsmodels": {"batch"},
    "jsonschema": {"batch"},
    "tqdm": {"batch.progress"},
    "distributed": {"batch"},
    "dask": {"batch"},
    "cloudpickle": {"batch"},
    "ipywidgets": {"notebook"},
    "IPython": {"notebook"},
    "matplotlib": {"notebook"},
    "nest_asyncio2": {"loop"},
    "flask": {"testing"},
    "stamina": {"gateway"},
    "opentelemetry": {"trace.otel"},
    "yaml": {"profiles", "serving"},
}


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found[name] = path
    return found


@cache
def imports(path: Path) -> frozenset[str]:
    """Every imported module, also those imported inside of functions; not those for type checkers only."""
    tree, found = ast.parse(path.read_text()), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found)


def arrows() -> dict[str, set[str]]:
    known = modules()
    own: dict[str, set[str]] = {}
    for name, path in known.items():
        inner = {target.removeprefix("composite_lab.") for target in imports(path)}
        own[name] = {target for target in inner if target in known and target != name}
    return own


def floor(name: str) -> int | None:
    """The floor of a module: its own, or its room's."""
    for number, names in enumerate(FLOORS):
        if any(name == known or name.startswith(f"{known}.") for known in names):
            return number
    return None


def test_every_module_has_a_floor() -> None:
    stray = [
        name
        for name in modules()
        if not name.endswith("__init__") and not name.startswith("testing.") and floor(name) is None
    ]
    assert stray == []


def test_no_arrow_runs_up() -> None:
    up = [
        f"{name} imports {target}"
        for name, targets in arrows().items()
        if not name.endswith("__init__") and not name.startswith("testing.")
        for target in targets
        if not target.startswith("testing") and (floor(target) or 0) > (floor(name) or 0)
    ]
    assert up == []


def test_there_is_no_circle() -> None:
    left = {name: set(targets) for name, targets in arrows().items() if not name.endswith("__init__")}
    while ready := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in ready:
            del left[name]
    assert left == {}


def test_testing_stands_apart() -> None:
    for name, targets in arrows().items():
        if name.startswith("testing."):
            assert all(target.startswith("testing") for target in targets), name
        elif not name.startswith("commands."):
            assert not any(target.startswith("testing") for target in targets), name


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_imported_only_where_it_belongs(library: str) -> None:
    rooms = {
        name
        for name, path in modules().items()
        for target in imports(path)
        if target == library or target.startswith(f"{library}.")
    }
    allowed = ONLY_IN[library]
    assert {room for room in rooms if room not in allowed and room.split(".")[0] not in allowed} == set()
    assert rooms, f"nothing imports {library}: is this rule still needed?"
