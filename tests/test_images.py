import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch.masked import masked_tensor

from zssr.degradation.jpeg import Jpeg
from zssr.errors import ImageError
from zssr.geometry import Region
from zssr.images import load, photo_of
from zssr.io.limits import Limits
from zssr.io.metadata import Metadata
from zssr.io.picture import InMemoryPicture, PixelFormat
from zssr.io.reading import open_picture
from zssr.value_range import ValueRange

RNG = np.random.default_rng(0)


def round_trip(image):
    loaded = load(image, Limits())
    regions = [(photo, *photo.region(Region.whole(photo.size))) for photo in loaded.photos]
    return loaded.restore([photo.to_pixels(colors, opacity) for photo, colors, opacity in regions])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 2), (5, 7, 3), (5, 7, 9)])
def test_arrays_come_back_as_they_were(dtype, shape):
    array = RNG.random(shape).astype(np.float32)
    array = array.astype(dtype) if dtype().dtype.kind == "f" else (array * np.iinfo(dtype).max).astype(dtype)
    before = array.copy()
    back = round_trip(array)
    assert back.dtype == array.dtype
    assert back.shape == shape
    assert np.abs(back.astype(float) - array.astype(float)).max() < 1e-6
    assert np.array_equal(array, before)


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.uint16, torch.float16, torch.bfloat16, torch.float32, torch.float64]
)
@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 4, 5, 7)])
def test_tensors_come_back_as_they_were(dtype, shape):
    high = {torch.uint8: 255, torch.uint16: 65535}.get(dtype, 1)
    tensor = ValueRange(dtype, 0, high).from_floats(torch.from_numpy(RNG.random(shape)).float())
    back = round_trip(tensor)
    assert back.dtype == dtype
    assert back.shape == shape
    assert torch.equal(back.double(), tensor.double()) or (back.double() - tensor.double()).abs().max() < 1e-6


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK"])
def test_pictures_come_back_as_they_were(mode):
    channels = len(Image.new(mode, (1, 1)).getbands())
    array = RNG.integers(0, 256, (6, 8, channels), dtype=np.uint8)
    picture = Image.frombytes(mode, (8, 6), array.tobytes())
    back = round_trip(picture)
    assert back.mode == mode
    assert back.tobytes() == picture.tobytes()


def test_sixteen_bit_gray_pictures_come_back_as_they_were():
    array = RNG.integers(0, 65536, (6, 8), dtype=np.uint16)
    back = round_trip(Image.fromarray(array))
    assert back.mode == "I;16"
    assert np.array_equal(np.asarray(back), array)


def test_palettes_become_colors_and_transparency_alpha():
    picture = Image.fromarray(RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)).quantize(5)
    (photo,) = load(picture, Limits()).photos
    assert np.array_equal(photo.rows(0, 6).permute(1, 2, 0), np.asarray(picture.convert("RGB")))
    assert np.array_equal(np.asarray(round_trip(picture)), np.asarray(picture))  # it has no other colors
    picture.info["transparency"] = 2
    (photo,) = load(picture, Limits()).photos
    assert (photo.channels, photo.alpha) == (3, "straight")
    assert np.array_equal(photo.rows(0, 6)[3] == 0, np.asarray(picture) == 2)


def test_alpha_is_apart_from_the_colors():
    photo = load(Image.new("RGBA", (4, 3), (255, 0, 0, 51)), Limits()).photos[0]
    colors, opacity = photo.region(Region.whole((3, 4)))
    assert (photo.channels, colors.shape) == (3, (1, 3, 3, 4))
    assert opacity.shape == (1, 1, 3, 4)
    assert opacity[0, 0, 0, 0].item() == pytest.approx(0.2)
    assert load(Image.new("RGB", (4, 3)), Limits()).photos[0].alpha is None


def test_foreign_byte_orders_come_back_as_they_were():
    for dtype in (">u2", ">f4"):
        array = (RNG.random((5, 7)) * (1 if dtype == ">f4" else 65535)).astype(dtype)
        back = round_trip(array)
        assert back.dtype == array.dtype
        assert np.array_equal(back, array)
    swapped = Image.frombytes("I;16B", (7, 5), (array.astype(float) * 65535).astype(">u2").tobytes())
    assert np.array_equal(np.asarray(round_trip(swapped)), np.asarray(swapped))


def test_a_matrix_is_an_array():
    array = RNG.integers(0, 256, (6, 8), dtype=np.uint8)
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.asmatrix(array)
    assert np.array_equal(round_trip(matrix), array)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch calls them prototypes
def test_tensors_without_plain_numbers_are_refused():
    ones = torch.ones(1, 4, 4)
    with pytest.raises(ImageError, match="masked, nested or meta tensor"):
        load(masked_tensor(ones, ones.bool()), Limits())
    with pytest.raises(ImageError, match="masked, nested or meta tensor"):
        load(torch.nested.nested_tensor([ones, torch.ones(1, 4, 5)]), Limits())


def test_subclasses_of_arrays_and_tensors_are_taken_as_plain_ones(tmp_path):
    array = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    mapped = np.memmap(tmp_path / "a", np.uint8, "w+", shape=array.shape)
    mapped[:] = array

    class Own(np.ndarray):
        def __getitem__(self, key):
            return None

    for image in (np.rec.array(array), mapped, array.view(Own)):
        assert type(round_trip(image)) is np.ndarray
        assert np.array_equal(round_trip(image), array)

    class Labeled(torch.Tensor):
        pass

    tensor = torch.from_numpy(array).movedim(-1, 0)
    assert type(round_trip(tensor.as_subclass(Labeled))) is torch.Tensor
    assert torch.equal(round_trip(torch.nn.Parameter(tensor / 255)), tensor / 255)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(12, 10), (12, 10, 3)])
def test_masked_pixels_stay_masked_and_are_not_seen(dtype, shape):
    mask = np.zeros(shape, bool)
    mask[:, :4] = True
    mask[6:8, 7] = True
    if len(shape) == 3:
        mask[..., 1] = False
    values = np.full(shape, 0.5, dtype) if dtype is np.float32 else np.full(shape, 100, dtype)
    hidden = np.where(mask, np.nan if dtype is np.float32 else np.iinfo(dtype).max, values).astype(dtype)
    array = np.ma.masked_array(hidden, mask, fill_value=7)
    loaded = load(array, Limits())
    colors, opacity = loaded.photos[0].region(Region.whole((12, 10)))
    assert opacity is None
    assert len(colors.unique()) == 1
    back = loaded.restore([loaded.photos[0].to_pixels(colors, None).repeat_interleave(2, -1).repeat_interleave(3, -2)])
    assert (back.dtype, back.shape, back.fill_value) == (dtype, (36, 20, *shape[2:]), 7)
    assert np.array_equal(back.mask, mask.repeat(3, 0).repeat(2, 1))
    assert np.array_equal(back.compressed(), np.full(back.count(), values.flat[0]))
    assert np.array_equal(np.ma.getdata(array), hidden, equal_nan=dtype is np.float32)


def test_masked_arrays_without_a_masked_pixel_or_with_no_other():
    array = RNG.integers(0, 256, (6, 8), dtype=np.uint8)
    back = round_trip(np.ma.masked_array(array))
    assert np.array_equal(back.data, array)
    assert not back.mask.any()
    assert round_trip(np.ma.masked_all((6, 8), np.uint8)).mask.all()


@pytest.mark.parametrize(
    ("dtype", "excess"),
    [(np.float32, 1e-7), (np.float32, 1.2e-6), (np.float64, 1e-16), (np.float64, 9e-6), (np.float16, 0.0009)],
)
def test_floats_that_leave_their_range_by_rounding_are_taken(dtype, excess):
    array = np.array([[0, 0.25], [0.5, 1]], dtype)
    array[0, 0], array[1, 1] = -min(excess, 1e-6), 1 + excess
    colors, _ = load(array, Limits()).photos[0].region(Region.whole((2, 2)))
    assert colors.flatten().tolist() == [0, 0.25, 0.5, 1]
    assert round_trip(array) == pytest.approx(array.clip(0, 1), abs=1e-6)


def test_axes_that_look_swapped_get_a_hint():
    array = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    tensor = torch.from_numpy(array).movedim(-1, 0)
    for right in (array, tensor, tensor[None], array[..., 0], array[:2, :2], array[..., [0] * 30], array[:10]):
        assert load(right, Limits()).notes == []
    for wrong in (np.moveaxis(array, -1, 0), array[None, ..., 0], np.moveaxis(array[..., [0] * 8], -1, 0)):
        (hint,) = load(wrong, Limits()).notes
        assert str(wrong.shape) in hint
        assert "np.moveaxis(image, 0, -1)" in hint
    for wrong in (tensor.movedim(0, -1), tensor.movedim(0, -1)[None], tensor[:1].movedim(0, -1)):
        (hint,) = load(wrong, Limits()).notes
        assert str(tuple(wrong.shape[-3:])) in hint
        assert torch.equal(wrong.movedim(-1, -3), tensor[: wrong.shape[-1]].reshape_as(wrong.movedim(-1, -3)))
        assert "image.movedim(-1, -3)" in hint


class Pipe(io.RawIOBase):
    """A binary file that cannot seek and gives a few bytes at a time."""

    def __init__(self, content):
        self.rest = content

    def readable(self):
        return True

    def readinto(self, buffer):
        part, self.rest = self.rest[: min(100, len(buffer))], self.rest[min(100, len(buffer)) :]
        buffer[: len(part)] = part
        return len(part)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
def test_bytes_and_binary_files_are_taken_as_their_paths(tmp_path, kind):
    path = tmp_path / "a"
    Image.fromarray(RNG.integers(0, 256, (30, 20, 3), np.uint8)).save(path, kind)
    content, expected = path.read_bytes(), round_trip(path)
    written = io.BytesIO()
    written.write(content)  # and not rewound, which Pillow does, too
    with path.open("rb") as file, path.open("rb", buffering=0) as raw:
        for source in (content, bytearray(content), memoryview(content), written, file, raw, Pipe(content)):
            loaded = load(source, Limits())
            assert loaded.photos[0].jpeg == load(path, Limits()).photos[0].jpeg
            colors, _ = loaded.photos[0].region(Region.whole((30, 20)))
            assert loaded.restore([loaded.photos[0].to_pixels(colors, None)]) == expected


def closed_file():
    file = io.BytesIO(b"anything")
    file.close()
    return file


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.open(), "text file.*rb"),
        (lambda _: io.StringIO("GIF89a"), "text file"),
        (lambda _: io.BytesIO(), "is empty"),
        (lambda _: closed_file(), "closed file"),
        (lambda path: path.open("wb"), "cannot be read"),
        (lambda _: b"", "is empty"),
        (lambda _: b"<html>", "not a PNG"),
        (lambda _: io.BytesIO(bytes(2_000_001)), "more than max_MB = 2"),
    ],
)
def test_files_that_are_none_are_refused_in_one_sentence(tmp_path, make, words):
    (tmp_path / "a").write_bytes(b"anything")
    source = make(Path(tmp_path / "a"))
    with pytest.raises(ImageError, match=words) as caught:
        load(source, Limits(max_MB=2))
    assert "\n" not in str(caught.value)
    if isinstance(source, io.IOBase):
        source.close()


@pytest.mark.parametrize("mode", ["La", "RGBa", "RGBX", "YCbCr", "LAB", "HSV", "I;16", "I;16B", "I;16L", "I;16N", "1"])
def test_unusual_modes_come_back_in_the_same_mode(mode):
    smooth = np.linspace(40, 200, 48).astype(np.uint8).reshape(6, 8)
    if mode.startswith("I;16"):
        picture = Image.frombytes(mode, (8, 6), smooth.repeat(2).tobytes())
    else:
        picture = Image.fromarray(smooth).convert({"La": "LA", "RGBa": "RGBA"}.get(mode, "RGB")).convert(mode)
    loaded, back = load(picture, Limits()), round_trip(picture)
    assert (back.mode, back.size, loaded.notes) == (mode, picture.size, [])
    difference = np.asarray(back).astype(int) - np.asarray(picture)
    assert np.abs(difference.astype(np.int8).astype(int)).max() <= 3  # LAB rounds, and its colors are signed


def test_modes_that_cannot_come_back_are_told():
    palette = Image.new("P", (8, 6))
    clear = Image.new("L", (8, 6))
    clear.info["transparency"] = 0
    for picture, mode in ((palette, "RGB"), (palette.convert("PA"), "RGBA"), (clear, "LA")):
        (note,) = load(picture, Limits()).notes
        assert f'"{picture.mode}" comes back in mode "{mode}"' in note
        assert round_trip(picture).mode == mode


def test_empty_pictures_are_refused():
    with pytest.raises(ImageError):
        load(Image.new("RGB", (0, 5)), Limits())


def test_bitmaps_stay_bitmaps():
    picture = Image.fromarray(RNG.random((6, 8)) > 0.5)
    back = round_trip(picture)
    assert back.mode == "1"
    assert np.array_equal(np.asarray(back), np.asarray(picture))


def test_rounding_is_to_the_nearest_level():
    numbers, value_range = torch.arange(256, dtype=torch.uint8), ValueRange(torch.uint8, 0, 255)
    assert torch.equal(value_range.from_floats(value_range.to_floats(numbers) + 0.4 / 255), numbers)
    assert value_range.from_floats(torch.tensor([-0.5, 1.5])).tolist() == [0, 255]


@pytest.mark.parametrize(("largest", "white"), [(0, 255), (200, 255), (256, 511), (4095, 4095), (40000, 65535)])
def test_sixteen_bits_are_taken_for_as_many_as_are_used(largest, white):
    array = np.zeros((5, 7), np.uint16)
    array[2, 3] = largest
    photo = load(array, Limits()).photos[0]
    assert photo.value_range.high == white
    assert photo.region(Region.whole((5, 7)))[0].max().item() == pytest.approx(largest / white)
    assert np.array_equal(round_trip(array), array)


def test_floats_of_a_file_may_have_any_range():
    for low, high in ((-40.0, 9000.0), (0.0, 1.0), (0.2, 0.4), (7.0, 7.0)):
        pixels = RNG.uniform(low, high, (5, 7, 2)).astype(np.float32)
        photo = photo_of(InMemoryPicture("a.tif", pixels, PixelFormat("bands", 2, pixels.dtype), Metadata()))
        colors, _ = photo.region(Region.whole((5, 7)))
        assert 0 <= colors.min() <= colors.max() <= 1
        back = photo.to_pixels(colors, None).permute(1, 2, 0).numpy()
        assert back == pytest.approx(pixels, abs=1e-6 * max(1, high - low))


def test_a_file_with_values_that_are_no_numbers_is_named():
    pixels = np.full((5, 7, 1), np.nan, np.float32)
    with pytest.raises(ImageError, match=r"a\.tif: has no data, as all its values are NaN"):
        photo_of(InMemoryPicture("a.tif", pixels, PixelFormat("gray", 1, pixels.dtype), Metadata()))


def test_regions_are_those_of_the_whole():
    pixels = RNG.integers(0, 256, (40, 30, 4), dtype=np.uint8)
    pixels[..., 3] |= 1
    photo = photo_of(InMemoryPicture("a.png", pixels, PixelFormat("rgb", 4, pixels.dtype, "straight"), Metadata()))
    whole, opacity = photo.region(Region.whole((40, 30)))
    for region in Region.whole((40, 30)).split(13):
        rows, columns = region.slices_within(Region.whole((40, 30)))
        part, its_opacity = photo.region(region)
        assert torch.equal(part, whole[..., rows, columns])
        assert torch.equal(its_opacity, opacity[..., rows, columns])


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.full((4, 4), np.nan), "NaN"),
        (np.full((4, 4), np.inf, np.float32), "infinite"),
        (np.full((4, 4), 1.01), r"\[0, 1\].*1\.01"),
        (np.full((4, 4), -0.01), r"\[0, 1\]"),
        (np.zeros(4, np.uint8), r"\(H, W\)"),
        (np.zeros((4, 4, 4, 4), np.uint8), r"\(H, W\)"),
        (np.zeros((0, 4), np.uint8), r"\(H, W\)"),
        (np.zeros((4, 4), np.int32), "int32"),
        (np.zeros((4, 4), bool), "bool"),
        (np.zeros((4, 4), complex), "complex"),
        (np.zeros((4, 4), object), "object"),
        (np.zeros((4, 4), "U1"), "U1"),
        (torch.zeros(4, 4), r"\(C, H, W\)"),
        (torch.zeros(1, 1, 1, 4, 4), r"\(C, H, W\)"),
        (torch.full((1, 4, 4), 255.0), "255"),
        (torch.zeros(1, 4, 4, dtype=torch.int64), "int64"),
        (torch.zeros(1, 4, 4).to_sparse(), "sparse"),
        (torch.zeros(1, 4, 4, dtype=torch.float8_e4m3fn), "float8"),
        (torch.zeros(1, 4, 4, device="meta"), "meta tensor"),
        (np.rec.array(np.zeros((4, 4), [("r", "u1"), ("g", "u1")])), "not supported"),
        (np.full((4, 4), 1.0001), r"\[1\.0001, 1\.0001\]"),
        (np.array([[-2e-5, 1.0]]), "-2e-05"),
        (Image.new("F", (4, 4)), 'mode "F"'),
        (3, "int"),
        (None, "NoneType"),
        ([[0.5]], "list"),
    ],
)
def test_inputs_that_are_no_image_are_refused_in_one_sentence(image, words):
    with pytest.raises(ImageError, match=words) as caught:
        load(image, Limits())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("orientation", [1, 6])
def test_compression_of_a_jpeg_file_is_kept(tmp_path, orientation):
    path, exif = tmp_path / "a.jpg", Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RNG.integers(0, 256, (20, 30, 3), np.uint8)).save(path, quality=70, subsampling=1, exif=exif)
    assert load(path, Limits()).photos[0].jpeg == Jpeg.from_quality(70, "4:2:2")
    with Image.open(path) as picture:
        assert load(picture, Limits()).photos[0].jpeg == Jpeg.from_quality(70, "4:2:2")
        assert load(np.asarray(picture), Limits()).photos[0].jpeg is None


def test_the_profile_of_a_picture_stays_with_it(tmp_path):
    picture = Image.new("RGB", (30, 30))
    picture.info["icc_profile"] = b"a profile"
    assert round_trip(picture).info["icc_profile"] == b"a profile"


def turned(kind, mode, orientation):
    """Return a file of an image whose pixels lie as `orientation` says."""
    levels = RNG.integers(0, 256, (20, 30, 3), np.uint8)
    image = Image.fromarray(levels[..., 0].astype(np.uint16) * 257 if mode == "I;16" else levels).convert(mode)
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    image.save(file, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    return file


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("kind", "mode"),
    [("JPEG", "RGB"), ("JPEG", "CMYK"), ("PNG", "P"), ("PNG", "I;16"), ("WEBP", "RGBA"), ("TIFF", "L"), ("PNG", "1")],
)
def test_pil_images_are_upright_like_their_files(kind, mode, orientation):
    file = turned(kind, mode, orientation)
    (photo,) = load(Image.open(file), Limits()).photos
    upright = ImageOps.exif_transpose(Image.open(file))
    with open_picture(file.getvalue(), Limits()) as picture:
        assert photo.size == picture.size == upright.size[::-1]
        expected = torch.from_numpy(picture.rows(0, photo.size[0])).permute(2, 0, 1)
        assert torch.equal(photo.rows(0, photo.size[0]).float(), expected.float())
    restored = load(Image.open(file), Limits()).restore([photo.rows(0, photo.size[0])])
    assert restored.getexif().get(0x0112, 1) == 1
    np.testing.assert_array_equal(np.asarray(restored.convert("RGB")), np.asarray(upright.convert("RGB")))


def test_orientation_may_be_set_by_hand_or_by_xmp_or_be_senseless():
    plain = Image.fromarray(RNG.integers(0, 256, (20, 30, 3), np.uint8))
    by_hand, by_xmp, senseless = plain.copy(), plain.copy(), plain.copy()
    by_hand.getexif()[0x0112] = 8
    by_xmp.info["xmp"] = b'<x tiff:Orientation="6"/>'
    senseless.info["exif"] = b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\x63\0\0\0\0\0\0"
    for image, angle in ((by_hand, 90), (by_xmp, -90), (senseless, 0)):
        expected = np.asarray(plain.rotate(angle, expand=True))
        np.testing.assert_array_equal(np.asarray(round_trip(image)), expected)
        assert round_trip(image).getexif().get(0x0112, 1) == 1
    assert plain.info == {}


def test_damaged_exif_of_a_pil_image_is_left_out_with_a_note():
    image = Image.new("RGB", (30, 20))
    image.info["exif"] = b"Exif\0\0II*\0\xff\xff\xff\x00"
    batch = load(image, Limits())
    assert batch.photos[0].size == (20, 30)
    assert "EXIF data are damaged" in batch.notes[0]
    assert "exif" not in batch.restore([batch.photos[0].rows(0, 20)]).info
