"""The architecture: the import graph of files and rooms, what the core may not do, and the public names."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import zssr

ROOT = Path(__file__).parent.parent
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted((ROOT / "zssr").rglob("*.py"))
    if path.name != "__init__.py"
}


def imports(path):
    """Yield the modules of the package that a file imports, at its top or later."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "zssr":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in FILES else node.module


GRAPH = {module: {name for name in imports(path) if name in FILES} for module, path in FILES.items()}


def room(module):
    """Return the package below zssr, or the file, that a module belongs to."""
    return module.split(".")[1]


def assert_no_cycle(graph):
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_no_file_imports_itself_through_others():
    assert sum(map(len, GRAPH.values())) > 100
    assert_no_cycle(GRAPH)


def test_each_room_stands_above_all_that_it_imports():
    rooms = {}
    for module, names in GRAPH.items():
        rooms.setdefault(room(module), set()).update(room(name) for name in names if room(name) != room(module))
    assert_no_cycle(rooms)


INTERFACE = {"api", "cluster", "config", "errors", "executors", "io", "process_executor", "slides"}
INTERFACE |= {"cores", "processes", "progress", "quality", "request", "video", "multiframe"}


@pytest.mark.parametrize("entrance", ["cli", "web"])
def test_the_command_and_the_page_use_the_api_only(entrance):
    used = {room(name) for module, names in GRAPH.items() if room(module) == entrance for name in names}
    assert "api" in used
    assert used <= INTERFACE | {"cli", "web"}


def test_every_module_name_stands_once():
    names = [module.rpartition(".")[2] for module in FILES]
    assert sorted(names) == sorted(set(names))


def test_every_public_class_and_function_name_stands_once():
    homes = {}
    for module, path in FILES.items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, set()).add(module)
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}


def test_a_cycle_would_be_seen():
    with pytest.raises(pytest.fail.Exception, match=r"a -> b -> a|b -> a -> b"):
        assert_no_cycle({"a": {"b"}, "b": {"a"}})


@pytest.mark.parametrize("module", FILES)
def test_core_neither_prints_nor_asserts_nor_evaluates(module):
    forbidden = {"eval", "exec"} | (set() if module == "zssr.cli.main" else {"print"})
    for node in ast.walk(ast.parse(FILES[module].read_text())):
        assert not isinstance(node, ast.Assert)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in forbidden


def test_public_names_are_there_and_sorted():
    assert zssr.__all__ == sorted(zssr.__all__)
    assert all(getattr(zssr, name) is not None for name in zssr.__all__)
    with pytest.raises(AttributeError, match="absent"):
        zssr.absent  # noqa: B018


def test_version_stands_in_one_place():
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text()
    assert re.fullmatch(r"\d+\.\d+\.\d+", zssr.__version__)
    assert f"## {zssr.__version__}" in (ROOT / "CHANGELOG.md").read_text()
