import subprocess
import sys

import pytest

pytest.importorskip("gradio")
_COUNTED = """
import gc
import sys

opened = []
sys.addaudithook(lambda event, facts: opened.append(str(facts[0])) if event == "open" else None)
finders = list(sys.meta_path)
{0}
import gradio

assert gradio.ImageSlider and gc.isenabled() and sys.meta_path == finders
print(sum(name.endswith(".pyi") for name in opened))
"""


def stubs_opened(importing):
    command = [sys.executable, "-c", _COUNTED.format(importing)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_gradio_is_imported_without_its_stubs():
    assert stubs_opened("from zssr.web.importing import import_gradio; import_gradio()") == 0
    assert stubs_opened("") > 10, "Gradio makes none any more: zssr/web/importing.py has nothing left to do"
