"""Images that the page shows: any picture in 8 bits, transparency, and crops."""

import io

import imagecodecs
import numpy as np
import pytest
from hostile import encode_image, make_exif
from PIL import Image, ImageOps

from zssr.io.limits import Limits
from zssr.io.reading import open_picture
from zssr.web.previews import CROP_GRID, CROP_SIZE, crop_highest_contrast, to_jpeg, view_picture


def pictures():
    """Files of each mode that the page takes, by name."""
    draws = np.random.default_rng(0)
    gray, rgb, alpha = (draws.integers(0, 256, (9, 11, count), np.uint8) for count in (1, 3, 1))
    deep = draws.integers(0, 65536, (9, 11), np.uint16)
    modes = {
        "bilevel": Image.fromarray(gray[..., 0]).convert("1"),
        "gray": Image.fromarray(gray[..., 0]),
        "gray and alpha": Image.fromarray(np.concatenate([gray, alpha], axis=-1)),
        "palette": Image.fromarray(rgb).quantize(9),
        "rgb": Image.fromarray(rgb),
        "rgba": Image.fromarray(np.concatenate([rgb, alpha], axis=-1)),
    }
    found = {f"PNG, {name}": encode_image(image, "PNG") for name, image in modes.items()}
    found |= {
        "PNG, palette and alpha": encode_image(modes["palette"], "PNG", transparency=3),
        "PNG, 16 bits": encode_image(Image.fromarray(deep), "PNG"),
        "PNG, turned": encode_image(modes["rgb"], "PNG", exif=make_exif(6)),
        "JPEG, gray": encode_image(modes["gray"], "JPEG"),
        "JPEG, rgb": encode_image(modes["rgb"], "JPEG"),
        "JPEG, cmyk": encode_image(modes["rgb"].convert("CMYK"), "JPEG"),
        "WebP, rgb": encode_image(modes["rgb"], "WEBP"),
        "WebP, rgba": encode_image(modes["rgba"], "WEBP", lossless=True, exact=True),
    }
    return found


PICTURES = pictures()


@pytest.mark.parametrize("case", PICTURES)
def test_views_are_what_pillow_shows(case):
    content = PICTURES[case]
    with Image.open(io.BytesIO(content)) as opened:
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) / 256).astype(np.uint8))
    expected = image.convert("RGBA" if image.has_transparency_data else "RGB")
    with open_picture(content, Limits()) as picture:
        view = view_picture(picture)
    assert view.mode == expected.mode
    np.testing.assert_array_equal(np.asarray(view), np.asarray(expected))
    with Image.open(io.BytesIO(to_jpeg(view))) as shown:
        assert (shown.format, shown.mode, shown.size) == ("JPEG", "RGB", view.size)


def test_checkerboard_shows_through_transparent_pixels():
    with Image.open(io.BytesIO(to_jpeg(Image.new("RGBA", (32, 24), (255, 0, 0, 0))))) as shown:
        fields = np.asarray(shown).reshape(3, 8, 4, 8, 3).astype(int)
    assert np.ptp(fields, axis=(1, 3, 4)).max() <= 2
    means = fields.mean(axis=(1, 3, 4)).round()
    assert set(np.unique(means)) == {204.0, 255.0}
    assert (means[:-1] != means[1:]).all()
    assert (means[:, :-1] != means[:, 1:]).all()
    opaque = Image.new("RGBA", (32, 24), (200, 100, 50, 255))
    with Image.open(io.BytesIO(to_jpeg(opaque))) as shown:
        assert np.abs(np.asarray(shown).astype(int) - (200, 100, 50)).max() <= 2


@pytest.mark.parametrize(
    ("height", "width", "corners"), [(24, 30, {(0, 0)}), (100, 130, {(0, 0), (16, 0), (32, 0)}), (96, 200, None)]
)
def test_crops_begin_on_the_grid_of_jpeg_blocks(height, width, corners):
    rows, columns = np.indices((height, width))
    view = Image.fromarray(np.stack([rows, columns, rows ^ columns], axis=-1).astype(np.uint8))
    for _ in range(5):
        crop = crop_highest_contrast(view)
        assert crop.size == (min(width, CROP_SIZE), min(height, CROP_SIZE))
        top, left, _ = crop.getpixel((0, 0))
        assert (top % CROP_GRID, left % CROP_GRID) == (0, 0)
        assert corners is None or (left, top) in corners


def test_crop_with_the_most_contrast_is_taken():
    pixels = np.full((CROP_SIZE, 3 * CROP_SIZE), 128, np.uint8)
    pixels[:, CROP_SIZE : 2 * CROP_SIZE] = np.random.default_rng(0).integers(0, 256, (CROP_SIZE, CROP_SIZE))
    crop = crop_highest_contrast(Image.fromarray(pixels), candidates=200)
    np.testing.assert_array_equal(np.asarray(crop), pixels[:, CROP_SIZE : 2 * CROP_SIZE])


def test_floats_are_shown_as_levels():
    values = np.linspace(0, 1, 9 * 11 * 3, dtype=np.float32).reshape(9, 11, 3)
    with open_picture(bytes(imagecodecs.jpegxl_encode(values, lossless=True)), Limits()) as picture:
        np.testing.assert_array_equal(np.asarray(view_picture(picture)), (values * 255 + 0.5).astype(np.uint8))
