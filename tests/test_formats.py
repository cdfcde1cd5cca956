"""The table of docs/formats.md: each cell is a round trip that is done here, by the code that prints it."""

from pathlib import Path

import pytest

from benchmarks.formats import COLUMNS, is_read, is_written
from zssr.io.formats import FORMATS

pytest.importorskip("pillow_heif")
pytest.importorskip("OpenImageIO")

LINES = (Path(__file__).parent.parent / "docs" / "formats.md").read_text().splitlines()
START = LINES.index(f"| format | {' | '.join(COLUMNS)} |")
ROWS = {
    line.split(" | ")[0].removeprefix("| "): line.removesuffix(" |").split(" | ")[1:]
    for line in LINES[START + 2 : START + 2 + len(FORMATS)]
}
CELLS = [(file_format, column) for file_format in FORMATS for column in COLUMNS]


@pytest.mark.parametrize(("file_format", "column"), CELLS, ids=lambda value: getattr(value, "name", value))
def test_each_cell_of_the_table_holds(file_format, column):
    """`python -m benchmarks formats` prints the table anew."""
    cell = ROWS[file_format.name][COLUMNS.index(column)]
    assert is_read(file_format, column) == ("r" in cell)
    assert is_written(file_format, column) == ("w" in cell)


def test_the_table_has_all_formats_and_says_something():
    assert list(ROWS) == [file_format.name for file_format in FORMATS]
    assert sum(len(cell) for row in ROWS.values() for cell in row if cell != "-") >= 120
