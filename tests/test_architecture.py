"""The rules of the code base that no type checker knows; each failure names file and line."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median, quantiles

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("domain", "application", "adapters", "entrypoints")

DOMAIN_MAY_IMPORT = {
    "collections",
    "dataclasses",
    "datetime",
    "domain",
    "enum",
    "hashlib",
    "re",
    "transitions",
    "typing",
}
# The wall clock, chance and identifiers. `perf_counter` measures and decides nothing.
IMPURE_MODULES = {"random", "secrets", "uuid", "ulid"}
IMPURE_NAMES = {
    "time.time",
    "time.time_ns",
    "time.monotonic",
    "time.monotonic_ns",
    "time.sleep",
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "os.urandom",
    "os.getrandom",
}
ENVIRONMENT = {"os.environ", "os.environb", "os.getenv", "os.putenv"}
# File: why the rule above does not hold there.
MAY_BE_IMPURE = {
    "entrypoints/demo.py": "a client of the product that waits for a process, not a part of it",
}
MAY_READ_ENVIRONMENT = {
    "entrypoints/settings.py": "the one place",
    "entrypoints/demo.py": "hands its own environment on to the process that it starts",
}

# Family: why the others may use it. It may use none of them.
SHARED_FAMILIES = {"sandbox": "the isolation that every image engine needs"}

FUNCTION_LINES_MAX = 60
FUNCTION_LINES_P95 = 35
FUNCTION_LINES_MEDIAN = 8
FILE_LINES_MAX = 400
PORT_METHODS_MAX = 5

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One source file; `path` is relative to the repository."""

    path: str
    text: str
    tree: ast.Module

    @property
    def layer(self) -> str:
        return self.path.split("/")[0]

    @property
    def family(self) -> str | None:
        """The technology of an adapter; None for what all adapters share."""
        parts = self.path.split("/")
        return parts[1] if self.layer == "adapters" and len(parts) > 2 else None

    def imports(self) -> Iterator[tuple[int, str]]:
        """Line and full name of everything imported, also inside functions."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.path}:{node.lineno}: a relative import"
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)

    def functions(self) -> Iterator[Function]:
        for node in ast.walk(self.tree):
            if isinstance(node, Function):
                yield node

    def names(self) -> Iterator[tuple[int, str]]:
        """Line and text of every dotted name that is used, such as `os.environ`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute):
                yield node.lineno, ast.unparse(node)


@cache
def modules(*folders: str) -> tuple[Module, ...]:
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return tuple(_read(path) for path in paths)


def _read(path: Path) -> Module:
    text = path.read_text(encoding="utf-8")
    return Module(path.relative_to(ROOT).as_posix(), text, ast.parse(text))


def _length(function: Function) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def _is_in(name: str, forbidden: set[str]) -> bool:
    return any(name == one or name.endswith(f".{one}") for one in forbidden)


# --- dependencies point inwards --------------------------------------------------------------


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_layers_inside_it(layer: str) -> None:
    outside = {*LAYERS[LAYERS.index(layer) + 1 :], "tests"}
    assert [
        f"{module.path}:{line} imports {name}"
        for module in modules(layer)
        for line, name in module.imports()
        if name.split(".")[0] in outside
    ] == []


def test_the_domain_is_pure() -> None:
    assert [
        f"{module.path}:{line} imports {name}"
        for module in modules("domain")
        for line, name in module.imports()
        if name.split(".")[0] not in DOMAIN_MAY_IMPORT
    ] == []


def test_the_application_knows_no_library() -> None:
    allowed = sys.stdlib_module_names | {"domain", "application"}
    assert [
        f"{module.path}:{line} imports {name}"
        for module in modules("application")
        for line, name in module.imports()
        if name.split(".")[0] not in allowed
    ] == []


def test_adapter_families_do_not_know_each_other() -> None:
    families = {path.name for path in (ROOT / "adapters").iterdir() if path.is_dir()}
    families -= SHARED_FAMILIES.keys()
    strangers: list[str] = []
    for module in modules("adapters"):
        for line, name in module.imports():
            layer, _, rest = name.partition(".")
            other = rest.split(".")[0]
            if layer == "adapters" and other in families and other != module.family:
                strangers.append(f"{module.path}:{line} imports {name}")
    assert strangers == []


# --- one place for what is not repeatable ----------------------------------------------------


def test_only_the_settings_read_the_environment() -> None:
    assert [
        f"{module.path}:{line} uses {name}"
        for module in modules(*LAYERS)
        if module.path not in MAY_READ_ENVIRONMENT
        for line, name in (*module.names(), *module.imports())
        if _is_in(name, ENVIRONMENT)
    ] == []


def test_clock_chance_and_ids_come_from_the_system_adapter() -> None:
    assert [
        f"{module.path}:{line} uses {name}"
        for module in modules(*LAYERS)
        if module.family != "system" and module.path not in MAY_BE_IMPURE
        for line, name in (*module.names(), *module.imports())
        if _is_in(name, IMPURE_NAMES) or name.split(".")[0] in IMPURE_MODULES
    ] == []


def test_the_exceptions_are_still_needed() -> None:
    known = {module.path for module in modules(*LAYERS)}
    assert MAY_BE_IMPURE.keys() | MAY_READ_ENVIRONMENT.keys() <= known


def test_nothing_but_the_table_assigns_a_state() -> None:
    """A state is a keyword only where a media is made, moved by the table, or rebuilt."""
    allowed = {"request", "_move"}
    assert [
        f"{module.path}:{call.lineno} in {function.name}"
        for module in modules("domain", "application")
        for function in module.functions()
        if function.name not in allowed
        for call in ast.walk(function)
        if isinstance(call, ast.Call)
        and any(
            keyword.arg == "state" and ast.unparse(keyword.value).startswith("State.")
            for keyword in call.keywords
        )
    ] == []


# --- size, annotations, docstrings -----------------------------------------------------------


def test_no_function_and_no_file_is_long() -> None:
    everywhere = modules(*LAYERS, "tests")
    long_functions = [
        f"{module.path}:{function.lineno} {function.name}: {_length(function)} lines"
        for module in everywhere
        for function in module.functions()
        if _length(function) > FUNCTION_LINES_MAX
    ]
    long_files = [
        f"{module.path}: {count} lines"
        for module in everywhere
        if (count := len(module.text.splitlines())) > FILE_LINES_MAX
    ]
    assert long_functions + long_files == []


@pytest.mark.parametrize("layer", LAYERS)
def test_most_functions_are_short(layer: str) -> None:
    lengths = [_length(one) for module in modules(layer) for one in module.functions()]
    assert median(lengths) < FUNCTION_LINES_MEDIAN
    assert quantiles(lengths, n=20)[-1] < FUNCTION_LINES_P95


def test_every_function_is_annotated() -> None:
    assert [
        f"{module.path}:{function.lineno} {function.name}"
        for module in modules(*LAYERS, "tests")
        for function in module.functions()
        if not _is_annotated(function)
    ] == []


def _is_annotated(function: Function) -> bool:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    if named and named[0].arg in {"self", "cls"}:
        named = named[1:]
    others = [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
    return function.returns is not None and all(one.annotation for one in [*named, *others])


def test_every_module_says_what_it_is() -> None:
    assert [
        module.path
        for module in modules(*LAYERS)
        if module.text.strip() and ast.get_docstring(module.tree) is None
    ] == []


def test_every_port_is_small_and_says_what_it_promises() -> None:
    [ports] = [module for module in modules("application") if module.path.endswith("/ports.py")]
    for port in (node for node in ports.tree.body if isinstance(node, ast.ClassDef)):
        assert ast.get_docstring(port), f"{port.name} has no docstring"
        methods = [
            node for node in port.body if isinstance(node, Function) and not node.decorator_list
        ]
        assert len(methods) <= PORT_METHODS_MAX, f"{port.name} has {len(methods)} methods"


def test_no_package_is_left_unchecked() -> None:
    """A new top-level folder with code must be put into a layer."""
    with_code = {path.relative_to(ROOT).parts[0] for path in ROOT.glob("*/*.py")}
    assert {name for name in with_code if not name.startswith(".")} <= {
        *LAYERS,
        "tests",
        "benchmarks",
    }
