"""Imports Gradio in half the time that it takes by itself."""

import gc
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType


def import_gradio() -> None:
    """Import Gradio, but let it neither write type stubs for its components nor collect garbage meanwhile.

    At each import Gradio parses its own sources and draws up a stub for every component beside them (`*.pyi`), which
    serves those who edit it. It takes a second, and would write into what others installed. Should a later Gradio do
    this elsewhere, the import is as long as it was. Raises `ImportError`.
    """
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    gc.disable()  # an import makes a million objects, and none of them goes
    try:
        import gradio  # noqa: F401
    finally:
        gc.enable()
        sys.meta_path.remove(finder)


class _Finder(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name == "gradio.component_meta" else None
        if spec and spec.origin:
            spec.loader = _WithoutStubs(name, spec.origin)
        return spec


class _WithoutStubs(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        module.create_or_modify_pyi = lambda *_: None  # type: ignore[attr-defined]
