import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.fft import dctn
from skimage import data

from zssr.degradation import Degradation
from zssr.degradation.jpeg import SUBSAMPLINGS, Jpeg
from zssr.degradation.noise import add_noise, quantize
from zssr.estimation.jpeg_quality import estimate_jpeg, resolve_jpeg

SLANTED = tuple(range(3, 67))  # steps that grow along the rows, so that no transposed table is like it
FINEST = Jpeg.from_quality(100, "4:4:4")


def reopen(pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return Image.open(file)


def test_the_finest_compression_is_nearly_the_identity(photo):
    assert (FINEST.compress(photo) - photo).abs().max() < 4.5 / 255  # of rounding in YCbCr too
    assert (FINEST.compress(photo[:, :1]) - photo[:, :1]).abs().max() < 1.1 / 255


def test_coefficients_of_decoded_blocks_are_whole_steps_of_the_table(generator):
    image = 0.5 + 0.1 * torch.randn(1, 1, 32, 40, generator=generator)
    decoded = 255 * Jpeg(SLANTED, SLANTED).compress(image)[0, 0].double().numpy() - 128
    blocks = decoded.reshape(4, 8, 5, 8).transpose(0, 2, 1, 3)
    steps = dctn(blocks, axes=(2, 3), norm="ortho") / np.reshape(SLANTED, (8, 8))
    error = np.abs(steps - steps.round()) * np.reshape(SLANTED, (8, 8))
    assert np.abs(steps).max() > 3
    assert error.max() < 1.5  # of rounding 64 values, each by at most a half


def test_compression_equals_pillow(astronaut, photo):
    for quality, subsampling in [(30, "4:2:0"), (70, "4:2:2"), (90, "4:4:4")]:
        jpeg = Jpeg.from_quality(quality, subsampling)
        wanted = np.asarray(reopen(astronaut, quality=quality, subsampling=subsampling))
        ours = 255 * jpeg.compress(photo)[0].permute(1, 2, 0)
        assert np.array_equal(ours.round().numpy(), wanted)


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_tables_are_read_from_a_file(astronaut, subsampling):
    chroma = tuple(reversed(SLANTED))
    picture = reopen(astronaut, qtables=[list(SLANTED), list(chroma)], subsampling=subsampling)
    assert Jpeg.from_pillow(picture) == Jpeg(SLANTED, chroma, subsampling)
    assert Jpeg.from_pillow(reopen(astronaut, quality=63, subsampling=subsampling)) == Jpeg.from_quality(
        63, subsampling
    )


def test_gray_pictures_have_one_table(astronaut):
    jpeg = Jpeg.from_pillow(reopen(astronaut[..., 0], qtables=[list(SLANTED)]))
    assert jpeg is not None
    assert jpeg.luma == jpeg.chroma == SLANTED


def test_other_formats_and_copies_have_no_compression(astronaut):
    assert Jpeg.from_pillow(Image.fromarray(astronaut)) is None
    assert Jpeg.from_pillow(reopen(astronaut).convert("L")) is None


def test_lower_qualities_have_coarser_tables_and_leave_larger_errors(photo):
    jpegs = [Jpeg.from_quality(quality) for quality in (95, 75, 50, 25, 5)]
    errors = [float((jpeg.compress(photo) - photo).square().mean()) for jpeg in jpegs]
    assert errors == sorted(errors)
    for part in range(2):
        steps = [jpeg.coarseness[part] for jpeg in jpegs]
        assert steps == sorted(steps)
    assert [Jpeg.from_quality(50, subsampling).coarseness[2] for subsampling in SUBSAMPLINGS] == [0, 0.5, 0.75]
    assert FINEST.coarseness == (0, 0, 0)


def test_compressing_again_changes_little(photo):
    jpeg = Jpeg.from_quality(60)
    once = jpeg.compress(photo)
    assert (jpeg.compress(once) - once).abs().mean() < 0.2 * (once - photo).abs().mean()


def test_blocks_are_compressed_independently(photo):
    jpeg = Jpeg.from_quality(40, "4:4:4")
    assert torch.equal(jpeg.compress(photo)[..., 8:40, 16:], jpeg.compress(photo[..., 8:40, 16:]))


def test_images_and_channels_are_compressed_independently(photo, generator):
    jpeg = Jpeg.from_quality(50)
    images = torch.rand(2, 3, 17, 23, generator=generator)
    assert torch.equal(jpeg.compress(images), torch.cat([jpeg.compress(image[None]) for image in images]))
    bands = torch.cat([photo, 1 - photo[:, :1]], dim=1)
    assert torch.equal(jpeg.compress(bands), torch.cat([jpeg.compress(bands[:, k : k + 1]) for k in range(4)], dim=1))
    assert jpeg.compress(images.double()).dtype == torch.float64


@pytest.mark.parametrize("quality", [5, 30, 50, 82, 95, 100])
def test_quality_is_the_nearest_of_libjpeg(quality):
    assert str(Jpeg.from_quality(quality)) == f"q{quality} 4:2:0"
    assert Jpeg(tuple(max(1, step - 1) for step in Jpeg.from_quality(40).luma), SLANTED).quality in (40, 41, 42)


# estimation


@pytest.fixture(scope="module")
def clean():
    """A photo that was never compressed: the half of a larger one."""
    planes = torch.from_numpy(data.chelsea().astype(np.float32) / 255).permute(2, 0, 1)[None]
    return quantize(Degradation().downsample(planes, (150, 225)))


@pytest.mark.parametrize("quality", [10, 50, 75, 90])
def test_quality_is_estimated_from_pixels(clean, quality):
    jpeg = Jpeg.from_quality(quality)
    found = estimate_jpeg(jpeg.compress(clean))
    assert (found.luma, found.chroma) == (jpeg.luma, jpeg.chroma)
    assert estimate_jpeg(jpeg.compress(clean[:, :1])) == jpeg


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("phase", [(0, 0), (4, 0), (3, 5)])
def test_subsampling_is_estimated_from_the_chroma(clean, subsampling, phase):
    jpeg = replace(Jpeg.from_quality(60, subsampling), phase=phase)
    assert estimate_jpeg(jpeg.compress(clean)) == jpeg


def average_ratio(steps, others):
    return float(np.exp(np.mean(np.abs(np.log(np.array(steps) / np.array(others))))))


ROWS, COLUMNS = np.mgrid[:8, :8]
TABLES = {
    "flat": np.full((8, 8), 20),
    "slanted": 6 + 4 * (ROWS + COLUMNS),
    "round": 12 + ROWS**2 + COLUMNS**2,
    "uneven": 10 + 5 * ROWS + 9 * COLUMNS,  # as no encoder writes it
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("phase", [(0, 0), (6, 1), (3, 4)])
def test_any_table_in_any_grid_is_estimated(clean, name, phase):
    table = tuple(TABLES[name].ravel().tolist())
    found = estimate_jpeg(Jpeg(table, tuple(2 * step for step in table), "4:2:0", phase).compress(clean))
    assert found.phase == phase
    assert average_ratio(found.luma, table) < 1.15
    assert average_ratio(found.chroma, table) < 4
    assert found.confidence > 0.8
    assert str(found).endswith("(confidence 0.9)") or str(found).endswith("(confidence 1.0)")


def as_picture(image):
    return Image.fromarray((255 * image[0]).round().to(torch.uint8).permute(1, 2, 0).numpy())


def as_tensor(picture):
    return torch.from_numpy(np.asarray(picture.convert("RGB")).astype(np.float32) / 255).permute(2, 0, 1)[None]


HISTORIES = {
    "palette": lambda image: as_tensor(as_picture(image).quantize(256)),
    "brighter": lambda image: quantize(image**0.8),
    "contrast": lambda image: quantize((image - 0.5) * 1.2 + 0.5),
    "gray": lambda image: as_tensor(as_picture(image).convert("L")),
    "saved again": lambda image: Jpeg.from_quality(92).compress(image),
    "cropped and saved again": lambda image: Jpeg.from_quality(92).compress(image[..., 8:, 8:]),
    "palette of 64 colors": lambda image: as_tensor(as_picture(image).quantize(64)),
    "turned": lambda image: image.transpose(2, 3),
    "framed": lambda image: torch.nn.functional.pad(image, (8, 8, 16, 16), value=0.5),
}


@pytest.mark.parametrize("name", HISTORIES)
def test_compression_is_seen_through_what_was_done_since(clean, name):
    compressed = replace(Jpeg.from_quality(45), phase=(5, 2)).compress(clean)
    found = estimate_jpeg(HISTORIES[name](compressed))
    assert found.phase == ((2, 5) if name == "turned" else (5, 2))
    assert found.quality == pytest.approx(45, abs=20)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_compression_of_a_photo_made_smaller_since_is_weak(name):
    planes = torch.from_numpy(getattr(data, name)().astype(np.float32) / 255).permute(2, 0, 1)[None]
    photo = quantize(Degradation().downsample(planes, (planes.shape[2] // 2, planes.shape[3] // 2)))
    size = [round(0.75 * length) for length in as_picture(photo).size]
    small, clean = (
        as_tensor(as_picture(image).resize(size, Image.Resampling.BICUBIC))
        for image in (Jpeg.from_quality(40).compress(photo), photo)
    )
    found = estimate_jpeg(small)
    assert found.period == pytest.approx(6, abs=0.1)
    assert found.quality > 90
    assert "resized to blocks of 6.0 pixels" in str(found)
    assert estimate_jpeg(clean) is None


@pytest.mark.parametrize("resample", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC])
@pytest.mark.parametrize("factor", [1.2, 1.25, 1.5])
def test_enlarged_photos_have_none(clean, generator, factor, resample):
    for sigma in (0.0, 8.0):
        picture = as_picture(quantize(add_noise(clean, sigma, generator)))
        size = [round(length * factor) for length in picture.size]
        assert estimate_jpeg(as_tensor(picture.resize(size, resample))) is None  # their rows are periodic, too


def test_the_phase_of_a_grid_is_where_its_blocks_begin(photo):
    jpeg = replace(Jpeg.from_quality(40, "4:4:4"), phase=(3, 6))
    assert torch.equal(jpeg.compress(photo)[..., 3:, 6:], replace(jpeg, phase=(0, 0)).compress(photo[..., 3:, 6:]))
    assert jpeg.compress(photo).shape == photo.shape


def test_pixels_are_believed_if_they_tell_of_a_coarser_table_than_the_file(clean):
    coarse, fine = Jpeg.from_quality(45), Jpeg.from_quality(95)
    twice = fine.compress(coarse.compress(clean))
    assert resolve_jpeg("auto", twice, fine).quality == pytest.approx(45, abs=5)
    assert resolve_jpeg("auto", fine.compress(clean), fine) is None
    assert resolve_jpeg("auto", coarse.compress(clean), coarse) is coarse
    assert resolve_jpeg("auto", clean, coarse) is coarse
    assert resolve_jpeg("off", twice, fine) is None
    assert resolve_jpeg(30, twice, fine) == Jpeg.from_quality(30)


def test_uncompressed_photos_have_none(clean, generator):
    assert estimate_jpeg(clean) is None
    assert estimate_jpeg(quantize(add_noise(clean, 5.0, generator))) is None
    assert estimate_jpeg(clean.repeat_interleave(2, 2).repeat_interleave(2, 3)) is None
    assert estimate_jpeg(quantize(torch.rand(1, 3, 100, 100, generator=generator))) is None
    assert estimate_jpeg(FINEST.compress(clean)) is None


def test_synthetic_pictures_have_none():
    y, x = torch.meshgrid(torch.arange(96), torch.arange(96), indexing="ij")
    board, ramp = ((x // 12 + y // 12) % 2) * 0.6 + 0.2, quantize(0.1 + (x + 2 * y) / 400)
    for picture in (board, ramp, torch.full((96, 96), 0.5), (board > 0.5).float()):
        assert estimate_jpeg(picture.expand(1, 3, -1, -1)) is None


def test_fine_compression_and_small_or_odd_images_have_none(clean):
    jpeg = Jpeg.from_quality(50)
    assert estimate_jpeg(Jpeg.from_quality(97).compress(clean)) is None
    assert estimate_jpeg(jpeg.compress(clean)[..., :7, :]) is None
    assert estimate_jpeg(jpeg.compress(clean)[:, :2]) is None


def test_clipped_parts_do_not_hide_compression(clean):
    jpeg = Jpeg.from_quality(60)
    found = estimate_jpeg(jpeg.compress((1.6 * clean).clamp(0, 1)))
    assert found.luma == jpeg.luma
