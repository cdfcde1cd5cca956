"""What a photo makes of numbers that are none, of those that are few and far off, and of hidden colors."""

import numpy as np
import pytest
import tifffile
import torch
from helpers import TINY
from PIL import Image
from skimage import data

from zssr import Request, Upscaler, upscale
from zssr.errors import ConfigError, ImageError
from zssr.filling import FILL_REACH, fill_holes
from zssr.geometry import Region
from zssr.images import load, photo_of
from zssr.io.limits import Limits
from zssr.io.reading import open_picture
from zssr.no_data import find_nodata, restore_nodata

CAT = data.chelsea()[60:124, 100:172]
GRAY = CAT[..., 1]
VOID = np.zeros(GRAY.shape, bool)
VOID[:, :12] = VOID[30:33, 40:44] = VOID[50, 60] = True
WHOLE = Region.whole(GRAY.shape)


def photo_of_array(image, nodata=None):
    return load(image, Limits(), nodata).photos[0]


def save_tiff(path, pixels, nodata):
    tifffile.imwrite(path, pixels, metadata=None, extratags=[(42113, "s", 0, nodata, True)])
    return path


# no data


@pytest.mark.parametrize("size", [(7, 9), (90, 33)])
def test_holes_are_filled_from_around_them_and_nothing_else_changes(size, generator):
    colors = torch.rand(1, 2, *size, generator=generator)
    holes = torch.rand(2, *size, generator=generator) < 0.3
    filled = fill_holes(torch.where(holes, 1e6, colors), holes)
    assert torch.equal(filled[0][~holes], colors[0][~holes])
    assert 0 <= filled.min() <= filled.max() <= 1
    assert torch.equal(fill_holes(torch.where(holes, -5.0, colors), holes), filled)
    assert torch.equal(fill_holes(colors, torch.zeros_like(holes)), colors)
    flat = fill_holes(torch.where(holes[None], 9.0, torch.full_like(colors, 0.3)), holes)
    assert torch.equal(flat, torch.full_like(colors, 0.3))


def test_what_is_filled_does_not_depend_on_what_is_far(generator):
    colors = torch.rand(1, 1, 200, 200, generator=generator)
    holes = torch.zeros(1, 200, 200, dtype=torch.bool)
    holes[:, 20:180, 30:170] = True
    part = slice(60, 180)
    cut = fill_holes(colors[..., part, part], holes[..., part, part])
    inner = slice(FILL_REACH, -FILL_REACH)
    assert torch.equal(fill_holes(colors, holes)[..., part, part][..., inner, inner], cut[..., inner, inner])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("nodata", [0.0, 7.0, 255.0])
def test_no_data_is_put_back_and_no_other_pixel_becomes_it(dtype, nodata):
    pixels = torch.tensor([[[0, 6, 7, 8, 254, 255]]], dtype=torch.float64).to(dtype)
    voids = torch.tensor([[[True, False, False, True, False, False]]])
    restored = restore_nodata(pixels, voids, nodata)
    assert restored.dtype == dtype
    assert torch.equal(find_nodata(restored, nodata), voids)
    assert (restored.double() - pixels.double()).abs()[~voids].max() <= 1


def test_a_color_of_whole_numbers_is_no_data_where_all_of_them_are():
    pixels = torch.tensor([[0, 0, 255], [0, 9, 0], [0, 0, 0]], dtype=torch.uint8)[..., None]
    assert find_nodata(pixels, 0.0)[:, :, 0].all(0).tolist() == [True, False, False]
    assert not find_nodata(pixels, 0.0)[:, 1:].any()
    assert find_nodata(pixels[:2], 0.0).sum() == 4  # two bands
    assert find_nodata(torch.tensor([[[np.nan, 1.0]]]), -9999.0).tolist() == [[[True, False]]]


@pytest.mark.parametrize(
    ("nodata", "dtype", "text"),
    [
        (-9999.0, np.float32, "-9999"),
        (np.finfo(np.float32).min, np.float32, "-3.4028234663852886e+38"),
        (np.finfo(np.float32).min, np.float32, "-3.40282346638529e+38"),  # which is beyond the range
        (np.nan, np.float32, "nan"),
        (np.nan, np.float32, ""),
        (65535, np.uint16, "65535"),
        (0, np.uint16, "0"),
        (-32768, np.int16, "-32768"),
        (255, np.uint8, " 255 "),
    ],
)
def test_files_keep_their_no_data_and_all_else_is_as_without(tmp_path, nodata, dtype, text):
    base = (GRAY.astype(float) * (1 if dtype == np.uint8 else 8) + 20).clip(0, 32000 if dtype != np.uint8 else 250)
    pixels = base.astype(dtype)
    pixels[VOID] = nodata
    Upscaler(TINY).run_file(save_tiff(tmp_path / "a.tif", pixels, text), tmp_path / "b.tif", 2)
    large, void = tifffile.imread(tmp_path / "b.tif"), np.kron(VOID, np.ones((2, 2), bool))
    stored = np.array(nodata, dtype)
    assert np.array_equal(np.isnan(large) if np.isnan(stored) else large == stored, void)
    around = np.kron(base, np.ones((2, 2)))[~void]
    assert np.abs(large[~void] - around).mean() < 0.1 * np.ptp(around)
    assert large[~void].min() >= around.min() - 0.3 * np.ptp(around)
    with tifffile.TiffFile(tmp_path / "b.tif") as tiff:
        assert tiff.pages[0].tags[42113].value.strip() == text.strip()


def test_no_data_of_arrays_tensors_and_masks():
    floats = np.where(VOID, -9999.0, GRAY * 3.0 - 40).astype(np.float32)
    with pytest.raises(ImageError, match=r"\[0, 1\]"):
        upscale(floats, 2, config=TINY)
    large, void = upscale(floats, 2, config=TINY, nodata=-9999), np.kron(VOID, np.ones((2, 2), bool))
    assert np.array_equal(large == -9999, void)
    assert large[~void].min() > -200
    tensor = upscale(torch.from_numpy(floats)[None], 2, config=TINY, nodata=-9999)
    assert np.array_equal(tensor[0].numpy(), large)
    masked = upscale(np.ma.masked_equal(floats, -9999), 2, config=TINY)
    assert np.array_equal(masked.mask, void)
    assert np.array_equal(np.ma.getdata(masked)[~void], large[~void])
    unit = np.where(VOID, np.nan, GRAY / 255).astype(np.float32)
    assert np.array_equal(np.isnan(upscale(unit, 2, config=TINY)), void)
    with pytest.raises(ConfigError, match="nodata: '0' is not a number"):
        Request(nodata="0")


def test_what_no_data_holds_does_not_matter():
    results = [
        upscale(np.where(VOID, value, GRAY), 2, config=TINY, nodata=value) for value in (np.uint8(0), np.uint8(255))
    ]
    void = np.kron(VOID, np.ones((2, 2), bool))
    assert (
        np.array_equal(results[0][~void], results[1][~void].clip(1))
        or np.abs(results[0][~void].astype(int) - results[1][~void]).max() <= 1
    )


def test_no_data_is_no_content_and_is_not_learned_from():
    photo = photo_of_array(np.where(VOID, 0, GRAY.clip(1)).astype(np.uint8), 0)
    content = photo.content_in(WHOLE)
    assert not content[:, :12].any()
    assert content[:, 13:].float().mean() > 0.97
    assert all(photo.content_in(region) is None for region in photo.content_regions)
    assert sum(region.size[0] * region.size[1] for region in photo.content_regions) > 0.7 * content.sum()


def test_points_and_lines_without_data_are_filled_and_learned_from():
    image = GRAY.copy()
    points = np.random.default_rng(0).random(GRAY.shape) < 0.01
    points[20] = points[:, 30] = True
    image[points] = 0
    photo = photo_of_array(image, 0)
    assert photo.content_in(WHOLE) is None
    assert photo.content_regions == [photo.whole]
    filled = photo.region(WHOLE)[0][0, 0].numpy()
    nearest = np.abs(np.roll(GRAY, 1, 1) / 255.0 - GRAY / 255.0)[points].mean()
    assert np.abs(filled - GRAY / 255.0)[points].mean() < 1.2 * nearest
    assert np.array_equal(np.rint(255 * filled)[~points], GRAY[~points])
    assert np.abs(255 * filled - np.rint(255 * filled)).max() < 1e-3  # levels of 8 bits
    most = np.random.default_rng(0).random(GRAY.shape) < 0.4
    assert photo_of_array(np.where(most, 0, GRAY), 0).content_in(WHOLE).float().mean() < 0.7


def test_a_tile_without_any_data_stays_so(tmp_path):
    source = save_tiff(tmp_path / "a.tif", np.full((30, 40), -9999, np.float32), "-9999")
    Upscaler(TINY).run_file(source, tmp_path / "b.tif", 2)
    assert (tifffile.imread(tmp_path / "b.tif") == -9999).all()


# values


def test_a_narrow_range_is_learned_from_as_a_wide_one():
    wide = upscale((GRAY / 255).astype(np.float32), 2, config=TINY)
    for low, width, dtype in ((0.01, 0.04, np.float32), (29000.0, 1700.0, np.uint16), (0.9, 0.05, np.float64)):
        levels = low + width * (GRAY / 255.0)
        narrow = upscale(levels.round().astype(dtype) if dtype == np.uint16 else levels.astype(dtype), 2, config=TINY)
        assert narrow.dtype == dtype
        assert np.abs((narrow - low) / width - wide).mean() < 0.02
        photo = photo_of_array(levels.round().astype(dtype) if dtype == np.uint16 else levels.astype(dtype))
        assert np.ptp(photo.center()[0].numpy()) > 0.7


def test_images_that_use_their_range_keep_it():
    for image in (GRAY, GRAY.astype(np.uint16) * 257, (GRAY / 255).astype(np.float32), GRAY.astype(np.uint16)):
        photo = photo_of_array(image)
        assert photo.value_range.low == 0
        assert photo.value_range.high in (1, 255, 65535)
    dark = (GRAY // 6 / 255).astype(np.float32)  # levels of 8 bits, as which they are seen
    assert photo_of_array(dark).value_range.high == 1


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_outliers_do_not_set_the_range_and_are_kept(dtype, tmp_path):
    image = (1000 + GRAY.astype(float) * 4).astype(dtype)
    image[20, 30], image[40:42, 50:52] = 60000, 40000
    Upscaler(TINY).run_file(save_tiff(tmp_path / "a.tif", image, ""), tmp_path / "b.tif", 2)
    large = tifffile.imread(tmp_path / "b.tif")
    assert large[40:42, 60:62] == pytest.approx(60000, abs=1500)
    assert large[80:84, 100:104] == pytest.approx(40000, abs=1500)
    others = np.ones(large.shape, bool)
    others[40:42, 60:62] = others[80:84, 100:104] = False
    assert large[others].max() < 3500
    with open_picture(tmp_path / "a.tif", Limits()) as picture:
        assert photo_of(picture).value_range.high < 3500


def test_a_value_that_many_share_far_from_all_others_sets_no_range():
    sky = (300 + GRAY.astype(float) * 5).astype(np.uint16)
    plain = upscale(sky, 2, config=TINY)
    sky[:20] = 65535
    photo, large = photo_of_array(sky), upscale(sky, 2, config=TINY)
    assert photo.value_range.high < 2500
    assert not photo.content_in(WHOLE)[:20].any()
    assert (large[:40] > 64000).all()
    assert np.abs(large[44:].astype(float) - plain[44:]).mean() < 50


def test_no_data_is_filled_where_the_output_has_no_number_for_it(tmp_path):
    pixels = (GRAY * 3.0 + 20).astype(np.float32)
    pixels[VOID] = -9999
    source = save_tiff(tmp_path / "a.tif", pixels, "-9999")
    result = Upscaler(TINY).run_file(source, tmp_path / "b.png", 2, allow_loss=True)
    assert any("without data are filled" in warning for warning in result.warnings)
    void = np.kron(VOID, np.ones((2, 2), bool))
    large = np.asarray(Image.open(tmp_path / "b.png")).astype(float)
    assert large.std() > 20  # of 255, or more of 65535
    assert large[void].min() > 0 or (large[void] == 0).mean() < 0.5


# hidden colors


def with_alpha(colors, hidden):
    return Image.fromarray(np.dstack([colors, np.where(hidden, 0, 255).astype(np.uint8)]))


HIDDEN = np.zeros(GRAY.shape, bool)
HIDDEN[:, :30] = True


def test_hidden_colors_that_hold_content_are_enlarged():
    result = Upscaler(TINY).run(with_alpha(CAT, HIDDEN), 2)
    large = np.asarray(result.image).astype(float).reshape(64, 2, 72, 2, 4).mean((1, 3))
    plain = np.asarray(upscale(CAT, 2, config=TINY)).astype(float).reshape(64, 2, 72, 2, 3).mean((1, 3))
    assert np.abs(large[..., :3] - CAT)[HIDDEN].mean() < np.abs(plain - CAT)[HIDDEN].mean() + 1
    assert ["enlarged as they are" in warning for warning in result.warnings if "transparency" in warning] == [True]


@pytest.mark.parametrize("kind", ["black", "two colors", "noise"])
def test_hidden_colors_that_hold_nothing_are_not_seen(kind):
    under = {
        "black": np.zeros_like(CAT),
        "two colors": np.where(np.arange(64)[:, None, None] < 30, 255, 0) * np.ones_like(CAT),
        "noise": np.random.default_rng(0).integers(0, 256, CAT.shape),
    }[kind].astype(np.uint8)
    photo = load(with_alpha(np.where(HIDDEN[..., None], under, CAT), HIDDEN), Limits()).photos[0]
    colors, _ = photo.region(WHOLE)
    assert np.abs(colors[0].permute(1, 2, 0).numpy()[:, 29] - CAT[:, 30] / 255.0).max() < 0.3
    assert not photo.content_in(WHOLE)[:, :30].any()
    assert "filled from around them" in photo.notes[0]
