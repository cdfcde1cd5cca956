"""The rules of the house: nothing imports upwards, the core neither prints nor asserts, lint and types are clean."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import zssr

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "zssr").rglob("*.py"))
FLOORS = (
    {"errors", "symmetry", "regions", "convolutions"},
    {"degradation"},
    {"network", "config", "files", "device", "arguments"},
    {"texture"},
    {"photo", "memory", "door"},
    {"learning", "estimation"},
    {"reconstruction", "prior"},
    {"result"},
    {"lesson"},
    {"method"},
    {"expectation"},
    {"api"},
    {"batch"},
    {"web"},
    {"cli", "kernel_command", "__main__"},
)


def floor(module):
    return next(k for k, rooms in enumerate(FLOORS) if module.split(".")[1] in rooms)


@pytest.mark.parametrize("path", [file for file in FILES if file.name != "__init__.py"], ids=str)
def test_nothing_imports_upwards(path):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("zssr."):
            assert floor(node.module) <= floor(module), f"{module} imports {node.module}"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_core_neither_prints_nor_asserts_nor_evaluates(path):
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.Assert)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec"} | (set() if path.name == "cli.py" else {"print"})


def test_public_names_are_there_and_sorted():
    assert zssr.__all__ == sorted(zssr.__all__)
    assert all(getattr(zssr, name) is not None for name in zssr.__all__)
    with pytest.raises(AttributeError, match="absent"):
        zssr.absent  # noqa: B018


def test_version_stands_in_one_place():
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text()
    assert re.fullmatch(r"\d+\.\d+\.\d+", zssr.__version__)
    assert f"## {zssr.__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(
    "command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]], ids=lambda command: command[0]
)
def test_lint_format_and_types_are_clean(command):
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
