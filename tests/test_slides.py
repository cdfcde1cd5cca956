"""Slides: OME-Zarr, TIFF and Dask arrays, upscaled block by block, each with the pixels of the whole."""

import io
import json
import shutil
import signal
import subprocess
from dataclasses import replace
from functools import partial
from itertools import pairwise, product

import numpy as np
import pytest
import tifffile
import torch
from helpers import file_names, gaussian_kernel, run_command, wait_until
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from python_process import COMMAND, PythonProcess
from skimage import data

from zssr import Config, ConfigError, ImageError, Request, Upscaler, upscale
from zssr.degradation import Degradation
from zssr.degradation.jpeg import Jpeg
from zssr.geometry import Region
from zssr.process_executor import ProcessExecutor
from zssr.slides import blocks, learning, upscale_slide
from zssr.slides.layout import BlockGrid, Layout, coarsen, intersect
from zssr.slides.learned_bytes import decode_learned, encode_learned
from zssr.slides.placement import read_placement
from zssr.slides.slide_image import open_slide
from zssr.slides.slide_store import SlideStore

zarr = pytest.importorskip("zarr")
da = pytest.importorskip("dask.array")

TINY = Config(
    num_epochs=2, init="random", model_width=8, model_depth=3, crop_size=32, patch_size=8, self_ensemble=1, noise=0
)
SETTINGS = [
    option
    for name in ("num_epochs", "model_width", "model_depth", "crop_size", "patch_size", "self_ensemble", "noise")
    for option in ("--set", f"{name}={getattr(TINY, name)}")
]
PHOTO = data.astronaut()[40:98, 170:235]  # 58 x 65 pixels


def write_store(path, array, axes="cyx", chunk=16, **attributes):
    """Write an OME-Zarr store of pixels of 0.5 micrometers."""
    named = [{"name": a, "type": "space", **({"unit": "micrometer"} if a in "yx" else {})} for a in axes]
    scale = [{"type": "scale", "scale": [0.5 if a in "yx" else 1.0 for a in axes]}]
    multiscale = {"axes": named, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    group = zarr.create_group(
        str(path), attributes={"ome": {"version": "0.5", "multiscales": [multiscale]}} | attributes
    )
    group.create_array("0", data=array, chunks=tuple(chunk if a in "yx" else 1 for a in axes))
    return path


def read_level(path, number=0):
    return np.asarray(zarr.open_array(str(path / str(number)), mode="r")[:])


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    """A slide in colors, its result, and the same pixels upscaled as one image."""
    folder = tmp_path_factory.mktemp("slide")
    source = write_store(folder / "slide.ome.zarr", PHOTO.transpose(2, 0, 1))
    result = Upscaler(TINY).run_slide(source, folder / "made.ome.zarr", 2)
    whole = Upscaler(TINY).run(PHOTO, 2, model=result.model).image
    return folder, result, whole.transpose(2, 0, 1)


def test_blocks_are_the_whole_with_any_size_of_blocks(slide, tmp_path):
    folder, result, whole = slide
    made = read_level(folder / "made.ome.zarr")
    assert (result.blocks, result.size) == (20, (116, 130))
    assert made.shape == whole.shape
    assert np.abs(made.astype(int) - whole).max() <= 1  # tiles round differently
    assert (made != whole).mean() < 1e-3
    source = folder / "slide.ome.zarr"
    Upscaler(TINY).run_slide(source, tmp_path / "other.zarr", 2, block=96)
    assert np.array_equal(read_level(tmp_path / "other.zarr"), made)
    with pytest.raises(ConfigError, match="--block: 33 is not a multiple of 32"):
        Upscaler(TINY).run_slide(source, tmp_path / "other.zarr", 2, block=33)


def test_a_region_and_a_dask_array_have_the_pixels_of_the_whole(slide, tmp_path):
    folder, _, _ = slide
    made = read_level(folder / "made.ome.zarr").transpose(1, 2, 0)
    Upscaler(TINY).run_slide(folder / "slide.ome.zarr", tmp_path / "try.png", 2, region=(13, 21, 40, 30))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "try.png")), made[42:102, 26:106])
    with pytest.raises(ConfigError, match="does not lie within"):
        Upscaler(TINY).run_slide(folder / "slide.ome.zarr", tmp_path / "x.png", 2, region=(60, 0, 10, 10))
    lazy = upscale(da.from_array(PHOTO, chunks=(20, 30, 3)), 2, config=TINY)
    assert isinstance(lazy, da.Array)
    assert lazy.chunks == ((32, 32, 32, 20), (32, 32, 32, 32, 2), (3,))
    assert np.array_equal(lazy[30:70, 60:100].compute(scheduler="sync"), made[30:70, 60:100])


def test_the_margin_of_a_lazy_block_is_large_enough_and_needed(monkeypatch):
    array = da.from_array(PHOTO[..., 0], chunks=20)
    with monkeypatch.context() as patch:
        patch.setattr("zssr.slides.blocks.FILL_REACH", 0)  # there are no holes
        narrow = upscale(array, 1.5, config=TINY)
        assert np.array_equal(narrow.compute(scheduler="sync"), upscale(array, 1.5, config=TINY).compute())
    monkeypatch.setattr(blocks.BlockUpsampler, "margin", lambda _: 4)
    with pytest.raises(IndexError):
        upscale(array, 1.5, config=TINY)[10:20, 10:20].compute(scheduler="sync")


def test_metadata_and_pyramid(slide):
    folder, _, _ = slide
    attributes = zarr.open_group(str(folder / "made.ome.zarr"), mode="r").attrs.asdict()
    multiscale = attributes["ome"]["multiscales"][0]
    assert attributes["ome"]["version"] == "0.5"
    assert [axis["name"] for axis in multiscale["axes"]] == ["c", "y", "x"]
    assert multiscale["axes"][1]["unit"] == "micrometer"
    scales = [level["coordinateTransformations"][0]["scale"] for level in multiscale["datasets"]]
    assert scales == [[1, 0.25, 0.25], [1, 0.5, 0.5], [1, 1, 1], [1, 2, 2]]
    assert multiscale["datasets"][0]["coordinateTransformations"][1]["translation"] == [0, -0.125, -0.125]
    assert multiscale["datasets"][1]["coordinateTransformations"][1]["translation"] == [0, 0, 0]
    assert attributes["zssr"]["is_finished"]
    levels = [read_level(folder / "made.ome.zarr", number) for number in range(4)]
    assert [level.shape[1:] for level in levels] == [(116, 130), (58, 65), (29, 33), (15, 17)]
    for finer, coarser in pairwise(levels):
        assert np.array_equal(coarser, coarsen(finer, averages=True))
    mean = levels[0].reshape(3, 58, 2, 65, 2).mean((2, 4))
    assert np.abs(levels[1] - mean).max() <= 0.5


def test_what_is_done_is_kept_unless_its_checksum_fails(slide, tmp_path, monkeypatch):
    folder, _, _ = slide
    shutil.copytree(folder / "made.ome.zarr", tmp_path / "made.ome.zarr")
    made = tmp_path / "made.ome.zarr"
    (made / "0/c/0/1/1").unlink()
    cut = made / "0/c/0/2/0"
    cut.write_bytes(cut.read_bytes()[:50])
    flipped = made / "0/c/0/0/3"
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    computed, original = [], upscale_slide._upscale_block

    def count(image, upsampler, plane, region):
        computed.append((region.rows.start, region.columns.start))
        return original(image, upsampler, plane, region)

    monkeypatch.setattr(upscale_slide, "_upscale_block", count)
    with monkeypatch.context() as patch:
        patch.setattr(upscale_slide, "learn", lambda *_: pytest.fail("learned again"))
        result = Upscaler(TINY).run_slide(folder / "slide.ome.zarr", made, 2, resume=True)
    assert result.kept == 17
    assert result.learned.digest == slide[1].learned.digest
    assert result.model.assumed == slide[1].model.assumed
    assert sorted(computed) == [(0, 96), (32, 32), (64, 0)]
    assert np.array_equal(read_level(made), read_level(folder / "made.ome.zarr"))
    shutil.rmtree(made / "learned")
    (made / "0/c/0/1/1").unlink()
    assert Upscaler(TINY).run_slide(folder / "slide.ome.zarr", made, 2, resume=True).kept == 19  # it is learned again
    with pytest.raises(ImageError, match="has blocks of another settings; --overwrite starts anew"):
        Upscaler(TINY.replace(back_projection=2)).run_slide(folder / "slide.ome.zarr", made, 2, resume=True)


def test_a_block_that_fails_is_told_and_the_others_are_done(slide, tmp_path, monkeypatch, caplog):
    folder, _, _ = slide
    source = tmp_path / "slide.ome.zarr"
    shutil.copytree(folder / "slide.ome.zarr", source)
    original = upscale_slide._upscale_block

    def fail(image, upsampler, plane, region):
        if region.rows.start == 64 and region.columns.start == 96:
            raise OSError("the disk is gone")
        return original(image, upsampler, plane, region)

    with monkeypatch.context() as patch:
        patch.setattr(upscale_slide, "_upscale_block", fail)
        with pytest.raises(ImageError, match=r"1 of 20 blocks are not done, the others are; the block at \(96, 64\)"):
            Upscaler(TINY).run_slide(source, tmp_path / "made.zarr", 2)
    assert "the block at (96, 64) failed (the disk is gone)" in caplog.text
    assert Upscaler(TINY).run_slide(source, tmp_path / "made.zarr", 2, resume=True).kept == 19
    assert np.array_equal(read_level(tmp_path / "made.zarr"), read_level(folder / "made.ome.zarr"))


def test_the_command_upscales_slides_and_goes_on(slide, tmp_path, capsys):
    folder, _, _ = slide
    shutil.copytree(folder / "slide.ome.zarr", tmp_path / "slide.ome.zarr")
    run = partial(run_command, tmp_path / "slide.ome.zarr", *SETTINGS)
    assert run("--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["width"], facts["height"], facts["blocks"], facts["blocks_kept"]) == (130, 116, 20, 0)
    made = tmp_path / "slide_x2.ome.zarr"
    assert run() == 1
    assert "exists already" in capsys.readouterr().err
    assert run("--skip-existing", "--json") == 0
    assert json.loads(capsys.readouterr().out)["state"] == "skipped"
    root = json.loads((made / "zarr.json").read_text())
    root["attributes"]["zssr"]["is_finished"] = False
    (made / "zarr.json").write_text(json.dumps(root))
    assert run("--skip-existing", "--json") == 0
    assert json.loads(capsys.readouterr().out)["blocks_kept"] == 20
    assert run("--region", "0,0,20,20", "-o", tmp_path / "try.png") == 0
    assert np.asarray(Image.open(tmp_path / "try.png")).shape == (40, 40, 3)
    assert run("-o", tmp_path / "wrong.png") == 1
    assert "is written to a Zarr store" in capsys.readouterr().err
    assert run("--dry-run", "-o", tmp_path / "dry.ome.zarr") == 0
    assert file_names(tmp_path) == ["slide.ome.zarr", "slide_x2.ome.zarr", "try.png"]
    assert run_command(tmp_path, "-o", tmp_path / "dry/", "--dry-run", *SETTINGS) == 0  # stores in a folder


@pytest.mark.parametrize("axes", ["YXS", "CYX", "TZYX"])
def test_tiff_files(tmp_path, axes):
    gray = PHOTO[:40, :36, 0]
    pixels = {"YXS": PHOTO[:40, :36], "CYX": np.stack([gray, 255 - gray]), "TZYX": np.stack([[gray, gray // 2]] * 2)}
    metadata = {"axes": axes, "PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5}
    photometric = "rgb" if axes == "YXS" else "minisblack"
    source = tmp_path / "slide.ome.tif"
    tifffile.imwrite(source, pixels[axes], photometric=photometric, metadata=metadata, tile=(16, 16), ome=True)
    result = Upscaler(TINY).run_slide(source, tmp_path / "made.ome.zarr", 2)
    made = read_level(tmp_path / "made.ome.zarr")
    assert made.shape == {"YXS": (3, 80, 72), "CYX": (2, 80, 72), "TZYX": (2, 2, 80, 72)}[axes]
    group = zarr.open_group(str(tmp_path / "made.ome.zarr"), mode="r")
    level = group.attrs["ome"]["multiscales"][0]["datasets"][0]
    assert level["coordinateTransformations"][0]["scale"][-2:] == [0.25, 0.125]
    for place in product(*map(range, made.shape[:-3])) if axes == "TZYX" else [()]:
        image = pixels[axes][place] if axes != "CYX" else pixels[axes].transpose(1, 2, 0)
        whole = Upscaler(TINY).run(image[0] if axes == "TZYX" else image, 2, model=result.model).image
        ours = made[place][0] if axes == "TZYX" else made[place].transpose(1, 2, 0)
        assert np.abs(ours.astype(int) - whole).max() <= 1


def test_a_geotiff_keeps_its_place_and_its_missing_data(tmp_path):
    heights = PHOTO[:40, :40, 0].astype(np.int16) * 9 - 500
    heights[5:9, 7:12] = -9999
    keys = (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32633)
    tags = [
        (33550, "d", 3, (10.0, 10.0, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, 5e5, 6e6, 0.0), True),
        (34735, "H", len(keys), keys, True),
        (42113, "s", 6, "-9999", True),
    ]
    tifffile.imwrite(tmp_path / "map.tif", heights, extratags=tags, tile=(16, 16))
    Upscaler(TINY).run_slide(tmp_path / "map.tif", tmp_path / "map.zarr", 2)
    made = read_level(tmp_path / "map.zarr")
    assert made.dtype == np.int16
    assert (made[10:18, 14:24] == -9999).all()
    assert (made == -9999).sum() == 80
    assert made[made != -9999].min() >= heights[heights != -9999].min() - 300
    attributes = zarr.open_group(str(tmp_path / "map.zarr"), mode="r").attrs.asdict()
    assert attributes["spatial:transform"] == [5.0, 0.0, 5e5, 0.0, -5.0, 6e6]
    assert attributes["proj:code"] == "EPSG:32633"
    assert read_placement(attributes).rescale((2, 2)).attributes["spatial:transform"][0] == 2.5


def test_sixteen_bits_beyond_the_sample_are_kept(monkeypatch):
    """Where no crop has the largest numbers, they are enlarged all the same."""
    array = np.full((64, 64), 900, np.uint16) + PHOTO[:, :, 0].max() * 0
    array[:58] = (PHOTO[:58, :64, 0].astype(np.uint16) * 4)[:, :64]
    array[40:60, 40:60] = 60000
    first = Region.whole((64, 64)).rows.cut(0, 32)
    monkeypatch.setattr(learning, "find_crops", lambda photo, region: [Region(first, first)])
    made = upscale(da.from_array(array, chunks=32), 2, config=TINY).compute(scheduler="sync")
    assert made.dtype == np.uint16
    assert np.abs(made[90:110, 90:110].astype(int) - 60000).max() < 600
    assert made[:60, :60].max() < 1500


def test_labels_and_other_arrays(tmp_path):
    labels = np.arange(35 * 41, dtype=np.uint16).reshape(35, 41) * 40
    write_store(tmp_path / "labels.zarr", labels, "yx")
    Upscaler(TINY.replace(content="labels")).run_slide(tmp_path / "labels.zarr", tmp_path / "made.zarr", 3)
    assert np.array_equal(read_level(tmp_path / "made.zarr"), labels.repeat(3, 0).repeat(3, 1))
    assert set(np.unique(read_level(tmp_path / "made.zarr", 1))) <= set(np.unique(labels))
    zarr.create_array(str(tmp_path / "plain.zarr"), data=PHOTO[:40, :40])
    assert open_slide(tmp_path / "plain.zarr").layout.axes == "yxc"
    series = tmp_path / "series.zarr"  # as bioformats2raw writes it
    zarr.create_group(str(series))
    write_store(series / "0", labels, "yx")
    assert open_slide(series).dataset == "0/0"
    assert np.array_equal(open_slide(series).read((), Region.whole((35, 41)))[0], labels)
    zarr.create_group(str(tmp_path / "empty.zarr"))
    with pytest.raises(ImageError, match="without OME-Zarr's multiscales"):
        open_slide(tmp_path / "empty.zarr")
    (tmp_path / "text.tif").write_text("no picture")
    with pytest.raises(ImageError, match="cannot be read"):
        open_slide(tmp_path / "text.tif")
    with pytest.raises(ImageError, match="no such file"):
        open_slide(tmp_path / "absent.zarr")
    with pytest.raises(ImageError, match="is no Zarr store"):
        (tmp_path / "mine.zarr").mkdir()
        Upscaler(TINY).run_slide(tmp_path / "plain.zarr", tmp_path / "mine.zarr", 2)


def test_crops_lie_where_there_is_content():
    image = np.full((4096, 4096), 240, np.uint8)
    generator = np.random.default_rng(0)
    image[600:1400, 2000:3300] = generator.integers(0, 255, (800, 1300))
    whole = Region.whole(image.shape)

    def read(region):
        return torch.from_numpy(
            image[region.rows.start : region.rows.stop, region.columns.start : region.columns.stop]
        )[None]

    photo = learning.read_by(
        upscale_slide.SlideImage(None, "", Layout("yx", image.shape), image.dtype).to_photo(()), read
    )
    first, *others = learning.find_crops(photo, whole)
    assert first.size == (1024, 1024)
    assert 2 <= len(others) <= 15
    for crop in (first, *others):
        rows, columns = crop.rows, crop.columns
        assert rows.start % 16 == columns.start % 16 == 0
        assert min(rows.stop, 1400) - max(rows.start, 600) > 200
        assert min(columns.stop, 3300) - max(columns.start, 2000) > 200


def test_regions_that_differ_are_learned_anew(tmp_path, monkeypatch):
    monkeypatch.setattr("zssr.slides.upscale_slide.REGION_CELLS", 2)
    monkeypatch.setattr(learning, "REGION_CELLS", 2)
    asked = []

    def differs(*degradations):
        asked.append(degradations)
        return len(asked) % 2 == 0

    monkeypatch.setattr(learning, "differs", differs)
    photo = data.astronaut()[40:104, 170:234, 0]
    write_store(tmp_path / "slide.zarr", np.concatenate([photo, 255 - photo]), "yx")
    upscaler = Upscaler(TINY.replace(patch_size=16))
    result = upscaler.run_slide(tmp_path / "slide.zarr", tmp_path / "made.zarr", 2, adaptive=True)
    assert result.learned.choice == {(1, 0): 1}
    other = upscaler.run_slide(tmp_path / "slide.zarr", tmp_path / "other.zarr", 2, adaptive=True, block=128)
    plain = upscaler.run_slide(tmp_path / "slide.zarr", tmp_path / "plain.zarr", 2)
    made, again, once = (read_level(tmp_path / f"{name}.zarr") for name in ("made", "other", "plain"))
    assert np.array_equal(made, again)
    assert other.learned.digest == result.learned.digest != plain.learned.digest
    assert np.array_equal(made[:128], once[:128])
    assert not np.array_equal(made[128:], once[128:])


def test_what_is_learned_is_read_without_executing_anything(slide):
    _, result, _ = slide
    context = blocks.make_worker_context(TINY, Request(2))
    content = encode_learned(result.learned)
    assert len(content) < 10**5
    assert decode_learned(content, context).digest == result.learned.digest
    assert decode_learned(content[:-100], context) is None
    assert decode_learned(b"no model", context) is None
    file = io.BytesIO()
    torch.save({"learned": subprocess.Popen, "networks": []}, file)
    assert decode_learned(file.getvalue(), context) is None
    deeper = blocks.make_worker_context(TINY.replace(model_depth=5), Request(2))
    assert decode_learned(content, deeper) is None


def test_degradations_differ_by_what_shows():
    clean, blurred = Degradation(None), Degradation(gaussian_kernel(9, (1.5, 1.5)))
    assert learning.differs(clean, blurred)
    assert learning.differs(clean, replace(clean, noise=5.0))
    assert learning.differs(replace(clean, jpeg=Jpeg.from_quality(50)), clean)
    assert not learning.differs(replace(clean, noise=5.0), replace(clean, noise=5.5))
    assert not learning.differs(blurred, Degradation(gaussian_kernel(9, (1.55, 1.5))))


@settings(deadline=None, max_examples=30)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.sampled_from([(2.0, 2.0), (1.5, 3.0), (1.37, 1.37), (4.0, 4.0)]),
    st.integers(1, 40),
    st.integers(1, 3),
)
def test_cells_cover_the_output_once_and_come_from_within_the_source(size, scale, patch_size, count):
    output_size = (round(size[0] * scale[0]), round(size[1] * scale[1]))
    if 0 in output_size:
        return
    grid = BlockGrid.plan(size, output_size, scale, patch_size)
    grid = BlockGrid.plan(size, output_size, scale, patch_size, count * grid.cell[0])
    times = np.zeros(output_size, int)
    for block in grid.blocks:
        for cell in grid.cells_of(block):
            (rows, columns), _ = intersect(Region.whole(output_size), cell)
            times[rows, columns] += 1
            large = grid.source_of(cell).scaled(scale, output_size)
            inside, _ = intersect(large, cell)
            assert (inside[0].stop - inside[0].start, inside[1].stop - inside[1].start) == cell.size
            assert inside[0].start >= 0
            assert inside[1].start >= 0
    assert (times == 1).all()


@pytest.mark.slow
def test_killed_workers_and_clients_leave_what_is_done(slide, tmp_path):
    folder, _, _ = slide
    source, made = folder / "slide.ome.zarr", tmp_path / "made.ome.zarr"
    with PythonProcess(COMMAND, source, "-o", made, "-q", "--set", "init=random", *SETTINGS) as process:
        wait_until(lambda: len(list(made.glob("0/c/0/*/*"))) > 2 or process.poll() is not None)
        process.send_signal(signal.SIGKILL)
    done = len(list(made.glob("0/c/0/*/*")))
    with ProcessExecutor(2, threads=1) as executor:
        result = Upscaler(TINY).run_slide(source, made, 2, executor=executor, resume=True)
    assert done - 1 <= result.kept < 20
    assert np.array_equal(read_level(made), read_level(folder / "made.ome.zarr"))


def test_stores_hold_empty_blocks_too(tmp_path):
    store = SlideStore(tmp_path / "a.zarr", Layout("yx", (40, 20)), np.dtype(np.uint8), (16, 16))
    store.create({}, read_placement({}), {})
    (plane, block), *_ = store.blocks(0)
    assert not store.holds(0, plane, block)
    store.write(0, plane, block, np.zeros((1, 16, 16), np.uint8))
    assert store.holds(0, plane, block)
