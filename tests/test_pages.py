"""Pages of TIFF stacks and frames of animations; Pillow is the oracle."""

import io

import numpy as np
import pytest
import tifffile
from helpers import TINY, file_names, image_size, run_command
from hostile import encode_image
from PIL import Image, ImageSequence

from zssr import FilePage, Upscaler
from zssr.errors import ConfigError, ImageError
from zssr.io.limits import Limits
from zssr.io.reading import count_pages, open_picture

KINDS = {"GIF": ".gif", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif", "AVIF": ".avif"}


@pytest.fixture
def frames(astronaut):
    return [Image.fromarray(np.roll(astronaut[:32, :36], 5 * k, axis=1)) for k in range(3)]


def stack(frames, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    images = [frame.quantize(32) for frame in frames] if kind == "GIF" else frames
    return encode_image(images[0], kind, save_all=True, append_images=images[1:], **options)


@pytest.mark.parametrize("kind", KINDS)
def test_each_page_is_as_pillow_shows_it(kind, frames, tmp_path):
    path = tmp_path / f"a{KINDS[kind]}"
    path.write_bytes(stack(frames, kind))
    assert count_pages(path, Limits()) == 3
    for k, expected in enumerate(ImageSequence.Iterator(Image.open(io.BytesIO(path.read_bytes())))):
        with open_picture(FilePage(path, k + 1), Limits()) as picture:
            pixels = picture.rows(0, 32)
            shown = expected.convert("RGBA" if pixels.shape[-1] == 4 else "RGB")
            np.testing.assert_array_equal(pixels, np.asarray(shown))
    with pytest.raises(ImageError, match=r"\(page 4\): has no page 4$"):
        open_picture(FilePage(path, 4), Limits())


@pytest.mark.parametrize("kind", ["JPEG", "BMP", "TGA", "GIF", "TIFF"])
def test_files_of_one_picture_have_one_page(kind, frames, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(encode_image(frames[0], kind))
    assert count_pages(path, Limits()) == 1
    with open_picture(FilePage(path, 1), Limits(), "it") as picture:
        assert not picture.notes
    with pytest.raises(ImageError, match=r"^it: has no page 2$"):
        open_picture(FilePage(path.read_bytes(), 2), Limits(), "it")


def test_frames_that_only_change_a_part_are_shown_whole():
    first = Image.new("RGBA", (30, 30), (200, 0, 0, 255))
    change = first.copy()
    change.paste((0, 200, 0, 255), (5, 5, 9, 9))
    content = encode_image(first, "PNG", save_all=True, append_images=[change], default_image=False)
    with open_picture(FilePage(content, 2), Limits()) as picture:
        np.testing.assert_array_equal(picture.rows(0, 30), np.asarray(change))


@pytest.mark.parametrize("page", [0, -1, 1.5, "1", True])
def test_senseless_pages_are_refused(page):
    with pytest.raises(ConfigError, match=r"^page: .* is not a whole number, 1 or more$"):
        FilePage("a.tif", page)


@pytest.mark.parametrize("kind", ["TIFF", "GIF"])
def test_all_pages_become_files(kind, frames, tmp_path):
    path, out = tmp_path / f"a{KINDS[kind]}", tmp_path / "out"
    path.write_bytes(stack(frames, kind))
    (tmp_path / "out").mkdir()
    assert run_command(path, "-o", out, "--pages", "all") == 0
    suffix = ".png" if kind == "GIF" else ".tif"
    assert file_names(out) == [f"a_p{k}_x2{suffix}" for k in (1, 2, 3)]
    assert image_size(out / f"a_p2_x2{suffix}") == (72, 64)
    results = [np.asarray(Image.open(out / name)).astype(int) for name in file_names(out)]
    assert np.abs(results[0] - results[1]).mean() > 5


def test_ten_pages_sort_by_name_and_may_be_learned_from_together(frames, tmp_path, caplog):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.stack([np.asarray(frames[0].convert("L"))] * 11), photometric="minisblack")
    assert run_command(path, "--pages", "all", "--share-weights", "all", "-q") == 0
    assert file_names(tmp_path)[1:] == [f"a_p{k:02}_x2.tif" for k in range(1, 12)]
    one, *others = [tifffile.imread(tmp_path / name) for name in file_names(tmp_path)[1:]]
    assert all(np.array_equal(other, one) for other in others)


def test_one_page_is_taken(frames, tmp_path, capsys):
    path = tmp_path / "a.gif"
    path.write_bytes(stack(frames, "GIF"))
    assert run_command(path, "--pages", "3", "-o", tmp_path / "b.png") == 0
    assert run_command(path, "--pages", "4", "-o", tmp_path / "c.png") == 1
    assert f"{path}: has no page 4" in capsys.readouterr().err
    assert file_names(tmp_path) == ["a.gif", "b.png"]


@pytest.mark.parametrize("value", ["0", "-1", "last", "1.5"])
def test_wrong_pages_are_wrong_usage(value, capsys):
    with pytest.raises(SystemExit):
        run_command("a.tif", "--pages", value)
    assert "is not all, first, or a whole number" in capsys.readouterr().err or value == "-1"


def test_all_pages_of_one_file_do_not_go_to_one_file(frames, tmp_path, capsys):
    path = tmp_path / "a.gif"
    path.write_bytes(stack(frames, "GIF"))
    assert run_command(path, "--pages", "all", "-o", tmp_path / "b.png") == 2
    assert "(page 1)" in capsys.readouterr().err


def test_a_model_is_fitted_to_pages(frames):
    pages = [FilePage(stack(frames, "TIFF"), k) for k in (1, 2, 3)]
    upscaler = Upscaler(TINY)
    model = upscaler.fit(pages, 2)
    file = io.BytesIO()
    upscaler.run_file(pages[2], file, 2, model=model, suffix=".png")
    assert Image.open(file).size == (72, 64)
