"""Graphics and labels: how they are told from photos, and what they keep."""

import io

import numpy as np
import pytest
import torch
from helpers import TINY, run_command
from PIL import Image, ImageDraw
from scipy.ndimage import maximum_filter, minimum_filter
from skimage import data

from zssr import Upscaler, upscale
from zssr.degradation import resize
from zssr.graphics import is_graphics

RNG = np.random.default_rng(0)


def draw_sprite():
    image = Image.new("RGB", (40, 40), (91, 110, 225))
    draw = ImageDraw.Draw(image)
    draw.ellipse((6, 4, 32, 36), fill=(143, 86, 59))
    draw.rectangle((12, 10, 16, 14), fill=(255, 255, 255))
    for y in range(20, 30, 2):
        draw.line((12, y, 27, y), fill=(223, 113, 38))
    return np.asarray(image)


def draw_text(mode):
    image = Image.new(mode, (160, 90), "white")
    draw = ImageDraw.Draw(image)
    for y in range(4, 80, 14):
        draw.text((6, y), "The quick brown fox", fill="black")
    return np.asarray(image.convert("RGB"))


def draw_chart():
    image = Image.new("RGB", (960, 720), "white")
    draw = ImageDraw.Draw(image)
    for k, (height, color) in enumerate(((180, (200, 40, 40)), (480, (40, 160, 60)), (360, (50, 80, 200)))):
        draw.rectangle((120 + k * 180, 660 - height, 240 + k * 180, 660), fill=color)
    draw.pieslice((700, 40, 900, 240), 0, 80, fill=(230, 180, 40))
    draw.line([(60 + 6 * x, int(300 - 200 * np.sin(x / 20))) for x in range(140)], fill=(120, 0, 120), width=9)
    return np.asarray(image.resize((160, 120), Image.Resampling.BOX))


def draw_labels(count, side):
    y, x = np.mgrid[:side, :side]
    seeds = RNG.integers(0, side, (count, 2))
    return ((y[..., None] - seeds[:, 0]) ** 2 + (x[..., None] - seeds[:, 1]) ** 2).argmin(-1).astype(np.uint8)


GRAPHICS = {
    "sprite": draw_sprite(),
    "sprite, enlarged already": draw_sprite().repeat(3, 0).repeat(3, 1),
    "text": draw_text("L"),
    "text of 1 bit": draw_text("1"),
    "chart": draw_chart(),
    "code": np.pad(RNG.integers(0, 2, (29, 29), np.uint8).repeat(3, 0).repeat(3, 1) * 255, 12, constant_values=255),
    "code of single pixels": np.pad(RNG.integers(0, 2, (29, 29), np.uint8) * 255, 4, constant_values=255),
    "labels": draw_labels(5, 80),
    "256 labels": draw_labels(256, 200),
    "two colors": np.kron(np.eye(2, dtype=np.uint8) * 170, np.ones((30, 20), np.uint8)),
}
SOURCES = {
    "astronaut": data.astronaut()[::2, ::2],
    "cat": data.chelsea()[::2, ::2],
    "coffee": data.coffee()[::2, ::2],
    "camera": data.camera()[::2, ::2],
    "moon": data.moon()[::2, ::2],
}


def to_colors(pixels):
    return torch.from_numpy(np.atleast_3d(pixels).astype(np.float32) / 255).permute(2, 0, 1)


def shrink(pixels, factor):
    size = (pixels.shape[0] // factor, pixels.shape[1] // factor)
    planes = torch.from_numpy(np.atleast_3d(pixels).astype(np.float64)).permute(2, 0, 1)
    smaller = resize(planes[:, : size[0] * factor, : size[1] * factor], size, (1 / factor, 1 / factor))
    return smaller.round().clamp(0, 255).permute(1, 2, 0).numpy().astype(np.uint8)


def reduce_colors(pixels, count):
    return np.asarray(Image.fromarray(pixels).convert("RGB").quantize(count).convert("RGB"))


def compress(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=60)
    return np.asarray(Image.open(file))


PHOTOS = {
    "as it is": lambda photo: photo,
    "a half": lambda photo: shrink(photo, 2),
    "a quarter": lambda photo: shrink(photo, 4),
    "framed": lambda photo: np.pad(photo, ((80, 80), (80, 80), (0, 0))[: photo.ndim], constant_values=255),
    "noise in a frame": lambda photo: np.pad(
        (photo + RNG.normal(0, 25, photo.shape)).clip(0, 255).astype(np.uint8),
        ((90, 90), (90, 90), (0, 0))[: photo.ndim],
    ),
    "palette of 256": lambda photo: reduce_colors(photo, 256),
    "palette of 16": lambda photo: reduce_colors(photo, 16),
    "repeated pixels": lambda photo: photo.repeat(2, 0).repeat(2, 1),
    "jpeg": compress,
}


@pytest.mark.parametrize("name", GRAPHICS)
def test_graphics_are_recognized(name):
    assert is_graphics(to_colors(GRAPHICS[name]))
    assert is_graphics(to_colors(255 - GRAPHICS[name]))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", PHOTOS)
def test_photos_are_not_taken_for_graphics(name, source):
    assert not is_graphics(to_colors(PHOTOS[name](SOURCES[source])))


@pytest.mark.parametrize(
    "pixels", [np.zeros((1, 1)), np.full((40, 40), 9), np.zeros((2, 60)), RNG.random((50, 50)) * 255]
)
def test_images_without_any_edge_or_of_noise_are_no_graphics(pixels):
    assert not is_graphics(to_colors(pixels))


def neighborhood(pixels, scale):
    """Return the lowest and highest value around each pixel, enlarged."""
    planes = np.atleast_3d(pixels)
    return (
        filtered(planes, (3, 3, 1)).repeat(scale, 0).repeat(scale, 1).astype(int)
        for filtered in (minimum_filter, maximum_filter)
    )


@pytest.mark.parametrize("name", ["sprite", "text", "chart", "code of single pixels"])
@pytest.mark.parametrize("scale", [2, 3])
def test_graphics_get_no_colors_beyond_those_around_and_stay_flat(name, scale):
    result = Upscaler(TINY).run(GRAPHICS[name], scale)
    low, high = neighborhood(GRAPHICS[name], scale)
    large = np.atleast_3d(result.image).astype(int)
    assert (low <= large).all()
    assert (large <= high).all()
    assert result.assumed.startswith("graphics, kernel: bicubic")
    assert ["taken for graphics" in warning for warning in result.warnings] == [True]


def test_a_setting_says_what_an_image_is():
    sprite = GRAPHICS["sprite"]
    low, high = (one.astype(int) for one in neighborhood(sprite, 2))
    result = Upscaler(TINY.replace(content="photo")).run(sprite, 2)
    assert "graphics" not in result.assumed
    assert result.warnings == []
    cat = SOURCES["cat"][:48, :48]
    low, high = neighborhood(cat, 2)
    result = Upscaler(TINY.replace(content="graphics")).run(cat, 2)
    assert (low <= result.image).all()
    assert (result.image <= high).all()
    assert result.warnings == []


@pytest.mark.parametrize("name", ["sprite", "chart"])
def test_a_palette_stays_a_palette_where_asked(name):
    large = upscale(GRAPHICS[name], 3, config=TINY, palette=True)
    colors = {tuple(color) for color in GRAPHICS[name].reshape(-1, 3)}
    assert {tuple(color) for color in large.reshape(-1, 3)} <= colors


def test_transparent_graphics_keep_to_what_is_seen():
    sprite = np.dstack([draw_sprite(), np.full((40, 40), 255, np.uint8)])
    outside = (sprite[..., :3] == (91, 110, 225)).all(-1)
    sprite[outside] = 0
    large = np.asarray(upscale(Image.fromarray(sprite), 2, config=TINY))
    inside = large[..., 3] == 255
    assert inside.sum() > 0.3 * inside.size
    assert (large[..., 2][inside] > 30).all()  # without the black that nobody sees


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("size", [(100, 75), (40, 91)])
def test_labels_keep_their_values_by_nearest_neighbor(dtype, size):
    labels = draw_labels(7, 30).astype(dtype)
    labels = labels / dtype(8) if dtype is np.float32 else labels * (8 if dtype is np.uint8 else 9001)
    large = upscale(labels, size=size, content="labels") if min(size) >= 30 else None
    y, x = (np.floor((np.arange(n) + 0.5) * 30 / n).astype(int) for n in size)
    assert large.dtype == dtype
    assert np.array_equal(large, labels[y[:, None], x])


def test_labels_of_files_keep_their_values(tmp_path):
    labels = draw_labels(9, 40) * 3
    Image.fromarray(labels).save(tmp_path / "a.png")
    assert run_command(tmp_path / "a.png", "-o", tmp_path / "b.png", "-s", "4", "--labels", "--measure-gain") == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), labels.repeat(4, 0).repeat(4, 1))
    assert run_command(tmp_path / "a.png", "-o", tmp_path / "c.png", "--content", "graphics", "--palette") == 0
    assert set(np.unique(np.asarray(Image.open(tmp_path / "c.png")))) <= set(np.unique(labels))


@pytest.mark.parametrize("transparency", [None, 2, b"\xff\xff\x00\x80"])
def test_pictures_with_a_palette_keep_it(tmp_path, transparency):
    indexed = Image.fromarray(draw_labels(6, 40)).convert("P")
    indexed.putpalette(RNG.integers(0, 256, 18, np.uint8).tobytes())
    if transparency is not None:
        indexed.info["transparency"] = transparency
    large = upscale(indexed, 2, content="labels")
    assert large.mode == "P"
    assert large.getpalette()[:18] == indexed.getpalette()[:18]
    assert np.array_equal(np.asarray(large), np.asarray(indexed).repeat(2, 0).repeat(2, 1))
    assert np.array_equal(np.asarray(large.convert("RGBA")), np.asarray(indexed.convert("RGBA").resize((80, 80), 0)))
    indexed.save(tmp_path / "a.png", **({} if transparency is None else {"transparency": transparency}))
    for option in ("--labels", "--palette"):
        assert run_command(tmp_path / "a.png", "-o", tmp_path / "b.png", option, "--overwrite") == 0
        with Image.open(tmp_path / "b.png") as file:
            assert file.mode == "P"
            if option == "--labels":
                assert np.array_equal(np.asarray(file.convert("RGBA")), np.asarray(large.convert("RGBA")))


def test_other_colors_than_the_palette_are_kept_as_colors():
    indexed = Image.fromarray(SOURCES["cat"][:40, :40]).quantize(200)
    result = Upscaler(TINY).run(indexed, 2)
    assert result.image.mode == "RGB"
    assert 'comes back in mode "RGB", unless' in result.warnings[0]
