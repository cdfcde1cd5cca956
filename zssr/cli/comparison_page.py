"""What `zssr compare` writes: a contact sheet, and a page with a slider that needs no other file."""

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from zssr.quality import View

_COLUMNS, _GAP, _LINE = 4, 6, 20

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px system-ui, sans-serif; margin: 2em auto; max-width: 1100px; padding: 0 1em }}
#view {{ position: relative; overflow: hidden; display: inline-block; max-width: 100%; line-height: 0 }}
#view img {{ max-width: 100%; image-rendering: pixelated }}
#after {{ position: absolute; left: 0; top: 0 }}
#place {{ width: 100%; margin: 1em 0 }}
td, th {{ padding: .2em .8em; text-align: right }} td:first-child, th:first-child {{ text-align: left }}
tr:nth-child(even) {{ background: #8882 }} .failed {{ text-align: left }}
</style></head><body><h1>{title}</h1>
<p><label>left <select id="left">{choices}</select></label>
<label>right <select id="right">{choices}</select></label></p>
<div id="view"><img id="before" alt="left"><img id="after" alt="right"></div>
<input id="place" type="range" min="0" max="1000" value="500" aria-label="place of the edge">
<table><tr><th>method</th><th>seconds</th><th>weights</th><th>PSNR</th><th>SSIM</th></tr>{rows}</table>
<p>PSNR in dB and SSIM on luma: {measured_by}.</p>
<script>
const pictures = {pictures};
const get = id => document.getElementById(id);
function show() {{
  get("before").src = pictures[get("left").value];
  get("after").src = pictures[get("right").value];
  get("after").style.clipPath = `inset(0 0 0 ${{get("place").value / 10}}%)`;
}}
const names = Object.keys(pictures);
get("left").value = names.includes("bicubic") ? "bicubic" : names[names.length - 1];
get("right").value = names[0];
for (const id of ["left", "right", "place"]) get(id).addEventListener("input", show);
show();
</script></body></html>
"""


def render_page(photo: str, measured_by: str, views: "Mapping[str, View]", cells: Sequence[Sequence[str]]) -> str:
    """Render the page for a photo: pictures by method, and the cells of the table, of which failures have two."""
    pictures = {
        name: f"data:image/png;base64,{base64.b64encode(_encode_png(view)).decode()}" for name, view in views.items()
    }
    return _PAGE.format(
        title=html.escape(f"{photo}: methods"),
        choices="".join(f"<option>{html.escape(name)}</option>" for name in views),
        rows="".join(_render_row(row) for row in cells),
        measured_by=html.escape(measured_by),
        pictures=json.dumps(pictures).replace("<", "\\u003c"),
    )


def draw_sheet(crops: "Mapping[str, View]", cells: Mapping[str, Sequence[str]]) -> Image.Image:
    """Draw the same part of all results at full size, each with its method and PSNR below."""
    height, width = next(iter(crops.values())).shape[:2]
    columns, rows = min(_COLUMNS, len(crops)), -(-len(crops) // _COLUMNS)
    step = (max(width, 120) + _GAP, height + _LINE + _GAP)
    sheet = Image.new("RGB", (columns * step[0] + _GAP, rows * step[1] + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for k, (name, crop) in enumerate(crops.items()):
        left, top = _GAP + k % _COLUMNS * step[0], _GAP + k // _COLUMNS * step[1]
        sheet.paste(Image.fromarray(crop), (left, top))
        psnr = cells[name][3]
        label = name if psnr == "-" else f"{name}, {psnr} dB"
        draw.text((left, top + height + 2), label, "black", font)
    return sheet


def _encode_png(view: "View") -> bytes:
    file = io.BytesIO()
    Image.fromarray(view).save(file, "PNG")
    return file.getvalue()


def _render_row(cells: Sequence[str]) -> str:
    texts = [html.escape(cell) for cell in cells]
    if len(texts) == 2:
        return f'<tr><td>{texts[0]}</td><td class="failed" colspan="4">{texts[1]}</td></tr>'
    return "<tr>" + "".join(f"<td>{text}</td>" for text in texts) + "</tr>"
