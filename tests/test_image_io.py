import numpy as np
import pytest
import torch
from PIL import Image

from zssr.degradation.jpeg import Jpeg
from zssr.errors import ImageError
from zssr.image_io import (
    FORMATS,
    check_format,
    check_writable,
    encode,
    from_floats,
    load,
    read_picture,
    to_floats,
    write_whole,
)

RNG = np.random.default_rng(0)


def there_and_back(image):
    photo = load(image, 10)
    return photo.restore(photo.pixels, photo.alpha)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 2), (5, 7, 3), (5, 7, 9)])
def test_arrays_come_back_as_they_were(dtype, shape):
    array = RNG.random(shape).astype(np.float32)
    array = array.astype(dtype) if dtype().dtype.kind == "f" else (array * np.iinfo(dtype).max).astype(dtype)
    before = array.copy()
    back = there_and_back(array)
    assert back.dtype == array.dtype
    assert back.shape == shape
    assert np.abs(back.astype(float) - array.astype(float)).max() < 1e-6
    assert np.array_equal(array, before)


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.uint16, torch.float16, torch.bfloat16, torch.float32, torch.float64]
)
@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 4, 5, 7)])
def test_tensors_come_back_as_they_were(dtype, shape):
    tensor = from_floats(torch.from_numpy(RNG.random(shape)).float(), dtype)
    back = there_and_back(tensor)
    assert back.dtype == dtype
    assert back.shape == shape
    assert torch.equal(back.double(), tensor.double()) or (back.double() - tensor.double()).abs().max() < 1e-6


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK"])
def test_pictures_come_back_as_they_were(mode):
    channels = len(Image.new(mode, (1, 1)).getbands())
    array = RNG.integers(0, 256, (6, 8, channels), dtype=np.uint8)
    picture = Image.frombytes(mode, (8, 6), array.tobytes())
    back = there_and_back(picture)
    assert back.mode == mode
    assert back.tobytes() == picture.tobytes()


def test_sixteen_bit_grey_pictures_come_back_as_they_were():
    array = RNG.integers(0, 65536, (6, 8), dtype=np.uint16)
    back = there_and_back(Image.fromarray(array))
    assert back.mode == "I;16"
    assert np.array_equal(np.asarray(back), array)


def test_palettes_become_colours_and_transparency_alpha():
    picture = Image.fromarray(RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)).quantize(5)
    assert np.array_equal(np.asarray(there_and_back(picture)), np.asarray(picture.convert("RGB")))
    picture.info["transparency"] = 2
    clear = there_and_back(picture)
    assert clear.mode == "RGBA"
    assert np.array_equal(np.asarray(clear)[..., 3] == 0, np.asarray(picture) == 2)


def test_alpha_is_apart_from_the_colours():
    photo = load(Image.new("RGBA", (4, 3), (255, 0, 0, 51)), 10)
    assert photo.pixels.shape == (1, 3, 3, 4)
    assert photo.alpha is not None
    assert photo.alpha.shape == (1, 1, 3, 4)
    assert photo.alpha[0, 0, 0, 0].item() == pytest.approx(0.2)
    assert load(Image.new("RGB", (4, 3)), 10).alpha is None


def test_foreign_byte_orders_come_back_as_they_were():
    for dtype in (">u2", ">f4"):
        array = (RNG.random((5, 7)) * (1 if dtype == ">f4" else 65535)).astype(dtype)
        back = there_and_back(array)
        assert back.dtype == array.dtype
        assert np.array_equal(back, array)
    swapped = Image.frombytes("I;16B", (7, 5), (array.astype(float) * 65535).astype(">u2").tobytes())
    assert np.array_equal(np.asarray(there_and_back(swapped)), np.asarray(swapped))


def test_empty_pictures_are_refused():
    with pytest.raises(ImageError):
        load(Image.new("RGB", (0, 5)), 10)


def test_bitmaps_become_grey():
    assert there_and_back(Image.new("1", (4, 3), 1)).mode == "L"


def test_rounding_is_to_the_nearest_level():
    levels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(from_floats(to_floats(levels) + 0.4 / 255, torch.uint8), levels)
    assert from_floats(torch.tensor([-0.5, 1.5]), torch.uint8).tolist() == [0, 255]


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
        (3, "int"),
        (None, "NoneType"),
        ([[0.5]], "list"),
    ],
)
def test_what_is_no_image_is_refused_in_one_sentence(image, words):
    with pytest.raises(ImageError, match=words) as caught:
        load(image, 10)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # Pillow's own, before our error
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
def test_files_that_are_not_images(tmp_path, suffix):
    whole = encode(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)), suffix)
    for name, content in (("half", whole[: len(whole) // 2]), ("none", b""), ("html", b"<html></html>" * 99)):
        path = tmp_path / (name + suffix)
        path.write_bytes(content)
        with pytest.raises(ImageError, match=name):
            read_picture(path, 10)


def test_paths_that_are_not_files(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        read_picture(tmp_path / "absent.png", 10)
    with pytest.raises(ImageError, match="is not a file"):
        read_picture(tmp_path, 10)


def test_files_over_the_limit_are_not_opened(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"x" * 3000)
    with pytest.raises(ImageError, match=r"0\.003 MB, more than max_MB = 0\.002"):
        read_picture(path, 0.002)


def test_pictures_are_turned_upright(tmp_path):
    picture = Image.fromarray(RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.png", exif=exif)
    assert read_picture(tmp_path / "a.png", 10).size == (4, 6)


def test_outputs_are_checked_without_writing(tmp_path):
    with pytest.raises(ImageError, match="folder does not exist"):
        check_writable(tmp_path / "absent" / "a.png")
    (tmp_path / "b.png").mkdir()
    with pytest.raises(ImageError, match="is a folder"):
        check_writable(tmp_path / "b.png")
    check_writable(tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["b.png"]


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
def test_formats_hold_what_they_are_said_to_hold(tmp_path, mode, suffix):
    path = tmp_path / ("a" + suffix)
    array = RNG.integers(
        0, 256, (6, 8, len(Image.new(mode, (1, 1)).getbands()) * (1 + (mode == "I;16"))), dtype=np.uint8
    )
    picture = Image.frombytes(mode, (8, 6), array.tobytes())
    try:
        check_format(path, mode, (6, 8))
    except ImageError as error:
        assert "cannot hold" in str(error)
        return
    path.write_bytes(encode(picture, suffix))
    back = read_picture(path, 10)
    assert len(back.getbands()) >= len(picture.getbands())
    assert np.asarray(back).dtype == np.asarray(picture).dtype


def test_formats_end_at_their_longest_side(tmp_path):
    for suffix, side in ((".webp", 16383), (".jpg", 65535)):
        check_format(tmp_path / f"a{suffix}", "RGB", (10, side))
        with pytest.raises(ImageError, match=str(side)):
            check_format(tmp_path / f"a{suffix}", "RGB", (10, side + 1))
    for name in ("a.xyz", "a"):
        with pytest.raises(ImageError, match="unknown"):
            check_format(tmp_path / name, "RGB", (1, 1))
    assert set(FORMATS.values()) == {"PNG", "JPEG", "WEBP", "TIFF", "BMP"}


def test_writing_is_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def fail(_file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(ImageError, match="No space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    monkeypatch.undo()
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    path.chmod(0o600)
    (tmp_path / "link.png").symlink_to(path)
    write_whole(tmp_path / "link.png", b"newer")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"newer", 0o600)
    (tmp_path / "link.png").unlink()
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("orientation", [1, 6])
def test_how_a_jpeg_file_was_compressed_is_kept(tmp_path, orientation):
    path, exif = tmp_path / "a.jpg", Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RNG.integers(0, 256, (20, 30, 3), np.uint8)).save(path, quality=70, subsampling=1, exif=exif)
    assert load(path, 10).jpeg == load(read_picture(path, 10), 10).jpeg == Jpeg.from_quality(70, "4:2:2")
    assert load(Image.open(path), 10).jpeg == Jpeg.from_quality(70, "4:2:2")
    assert load(np.asarray(Image.open(path)), 10).jpeg is None
