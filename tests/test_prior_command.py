from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_gpu import fake_gpu
from helpers import save_prior
from PIL import Image

from zssr.prior import train, training_pictures
from zssr.prior.checkpoint import BUILT_IN, Prior
from zssr.prior.dead_leaves import draw_labels, paint
from zssr.prior.train import run_training
from zssr.prior.training_pictures import draw_pictures, load_pictures

CPU = torch.device("cpu")


def test_pictures_are_cached_by_seed(tmp_path):
    first = draw_pictures(2, 3, tmp_path, CPU)
    assert torch.equal(first[1], paint(draw_labels(7), 7, CPU))
    (kept,) = tmp_path.iterdir()
    np.save(kept, 255 - np.load(kept))
    assert torch.equal(draw_pictures(2, 3, tmp_path, CPU)[0], 255 - first[0])


def test_label_map_is_painted_several_times(tmp_path):
    pictures = draw_pictures(3, 2, tmp_path, CPU, 2)
    expected = [paint(draw_labels(6), 6, CPU), paint(draw_labels(6), 7, CPU), paint(draw_labels(8), 8, CPU)]
    assert torch.equal(torch.stack(pictures), torch.stack(expected))


def test_gpu_paints_the_label_maps_of_the_processes(tmp_path, monkeypatch):
    painted = []

    def record(label_map, seed, device):
        painted.append((label_map.labels.tobytes(), seed, device.type))
        return torch.zeros(3, 256, 256, dtype=torch.uint8, device=device)

    monkeypatch.setattr(training_pictures, "paint", record)
    with fake_gpu(monkeypatch) as gpu:
        pictures = draw_pictures(3, 2, tmp_path, torch.device("cuda"), 2)
    assert painted == [(draw_labels(k).labels.tobytes(), seed, "cuda") for k, seed in ((6, 6), (6, 7), (8, 8))]
    assert gpu.waits == ["copy"]  # of all pictures at once
    assert [(picture.shape, picture.device) for picture in pictures] == [((3, 256, 256), CPU)] * 3


def test_interrupted_command_says_how_to_resume(tmp_path, monkeypatch, caplog):
    def interrupted(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "draw_pictures", interrupted)
    assert run_training(["--out", str(tmp_path), "--device", "cpu"]) == 130
    assert "the same command goes on" in caplog.text


@pytest.fixture
def few_degradations(monkeypatch):
    """Embeddings of as many as the command draws take a minute."""
    make_plan = train._make_plan
    monkeypatch.setattr(train, "_make_plan", lambda *arguments: replace(make_plan(*arguments), degradations=3))


@pytest.mark.usefixtures("few_degradations")
def test_command_trains_on_the_pictures_of_a_folder(tmp_path, astronaut):
    (tmp_path / "mine").mkdir()
    Image.fromarray(astronaut).save(tmp_path / "mine" / "a.png")
    Image.fromarray(astronaut[..., 0]).save(tmp_path / "mine" / "gray.png")
    Image.fromarray(astronaut[:8, :8]).save(tmp_path / "mine" / "too_small.png")
    assert [tuple(one.shape) for one in load_pictures(tmp_path / "mine", 24)] == [(3, 48, 64)] * 2
    settings = ["--steps", "3", "--crops", "1", "--crop-size", "16", "--width", "8", "--depth", "4", "--blocks"]
    settings += ["--scales", "2", "3", "--device", "cpu"]
    out = str(tmp_path / "out")
    assert run_training(["--out", out, "--photos", str(tmp_path / "mine"), *settings]) == 0
    prior = Prior.read(tmp_path / "out" / "prior.safetensors")
    assert {kind: network.factors for kind, network in prior.networks.items()} == dict.fromkeys(
        ("bicubic", "blurred", "noisy"), (2, 3)
    )


def test_command_trains_on_the_networks_of_a_prior(tmp_path, astronaut):
    file = save_prior(tmp_path / "p.safetensors")
    (tmp_path / "mine").mkdir()
    Image.fromarray(astronaut).save(tmp_path / "mine" / "a.png")
    settings = ["--kinds", "bicubic", "--steps", "1", "--crops", "1", "--crop-size", "16", "--width", "8"]
    settings += ["--depth", "3", "--device", "cpu", "--photos", str(tmp_path / "mine"), "--start", str(file)]
    assert run_training(["--out", str(tmp_path / "out"), *settings]) == 0
    before, after = Prior.read(file).networks, Prior.read(tmp_path / "out" / "prior.safetensors").networks
    assert set(after) == set(before)
    for kind, network in after.items():
        same = [torch.equal(a, b) for a, b in zip(network.parameters(), before[kind].parameters(), strict=False)]
        assert all(same) == (kind != "bicubic")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--photos", "absent"], "absent: is not a folder of pictures"),
        (["--photos", "."], "no picture in gray or RGB"),
        (["--steps", "0"], "steps: 0 is not"),
        (["--crop-size", "300"], "crop_size: 300 is not"),
        (["--pictures", "0"], "pictures: 0 is not"),
        (["--paintings", "0"], "paintings: 0 is not"),
        (["--scales", "1"], "scale: 1 is not"),
        (["--width", "1"], "model_width: 1 is not"),
        (["--depth", "5"], "model_depth: 5 is not even"),
        (["--seed", "-1"], "seed: -1 is not"),
        (["--out", "/dev/null/out"], "out: cannot be made a folder"),
        (["--start", str(BUILT_IN), "--depth", "6"], "has model_width 64, model_depth 34"),
        (["--start", str(BUILT_IN), "--width", "32"], "model_width 32, model_depth 34"),
    ],
)
def test_command_refuses_bad_options(arguments, sentence, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    assert run_training(["--out", "out", "--device", "cpu", *arguments]) == 2
    assert sentence in caplog.text
