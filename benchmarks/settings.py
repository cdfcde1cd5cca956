"""docs/settings.md, made from the documentation of `Config`."""

import ast
import dataclasses
import inspect
import json
from itertools import pairwise

from zssr.config import PRESETS, Config

SECTIONS = {
    "image": ("Files", "For files and the command; `upscale()` does not use `image`, `output` and `base64`."),
    "init": ("Network", ""),
    "lr": ("Training", ""),
    "adversarial": ("Texture", "A network of its own, trained only where `adversarial` is over 0."),
    "noise": ("Degradation and expected gain", ""),
    "scale_factor": ("Inference", ""),
}
"""By the first setting of each section: its title, and a sentence."""

_HEAD = """\
# Settings

Each setting can stand in a JSON file (`--config config.json`; [config.json](../config.json) holds all of them with
their defaults), be given as `--set key=value`, or in Python as `upscale(image, key=value)` or `Config(key=value)`. A
preset comes first, then the file, then `--set`. This page is printed by `python -m benchmarks settings`.

"""
_TABLE = "| setting | values | default | what it does |\n|---|---|---|---|"


def run() -> None:
    """Print docs/settings.md."""
    print(to_markdown(), end="")


def to_markdown() -> str:
    """Return docs/settings.md: one table for each section of `Config`, and the presets."""
    documentation = read_documentation()
    lines = []
    for key in dataclasses.fields(Config):
        if key.name in SECTIONS:
            title, sentence = SECTIONS[key.name]
            lines += ["", f"## {title}", "", *([sentence, ""] if sentence else []), _TABLE]
        allowed = key.metadata["allowed"]
        default = f"{key.default:g}" if type(key.default) is float else json.dumps(key.default)
        lines.append(f"| `{key.name}` | {allowed} | `{default}` | {documentation[key.name]} |")
    lines += ["", "## Presets", "", "Settings that differ from the defaults:", "", "| preset | settings |", "|---|---|"]
    for name, settings in PRESETS.items():
        lines.append(f"| `{name}` | {', '.join(f'`{k}={json.dumps(v)}`' for k, v in settings.items()) or 'none'} |")
    return _HEAD + "\n".join(lines).lstrip("\n") + "\n"


def read_documentation() -> dict[str, str]:
    """Return the text below each field of `Config`, on one line."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(Config)).body if isinstance(node, ast.ClassDef))
    texts = {}
    for node, below in pairwise(body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(below, ast.Expr):
            texts[node.target.id] = " ".join(ast.literal_eval(below.value).split())
    return texts
