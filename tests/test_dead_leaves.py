from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_gpu import fake_gpu

from zssr.prior.dead_leaves import draw_labels, fractal_noise, paint

CPU = torch.device("cpu")


def draw_picture(seed, size):
    return paint(draw_labels(seed, size), seed, CPU)


def test_label_map_depends_on_the_seed_alone():
    labels, centers = draw_labels(5, 48)
    assert labels.shape == (96, 96)
    assert 0 <= labels.min() < labels.max() < len(centers)
    assert np.array_equal(draw_labels(5, 48).labels, labels)
    assert np.array_equal(draw_labels(5, 48).centers, centers)
    assert not np.array_equal(draw_labels(6, 48).labels, labels)


def test_paintings_of_a_label_map_differ_in_all_but_the_shapes():
    label_map = draw_labels(5, 48)
    first, second = (paint(label_map, seed, CPU) for seed in (1, 2))
    assert torch.equal(paint(label_map, 1, CPU), first)
    assert (first != second).float().mean() > 0.9
    labels = torch.from_numpy(label_map.labels)[:, ::2]
    is_edge = (labels[::2, 1:] != labels[::2, :-1]).expand(3, -1, -1)
    for painting in (first, second):
        steps = painting.float().diff(dim=2).abs()
        assert steps[is_edge].mean() > 3 * steps[~is_edge].mean()


def test_painting_does_not_wait_for_the_gpu(monkeypatch):
    label_map = draw_labels(5, 48)
    with fake_gpu(monkeypatch) as gpu:
        monkeypatch.setattr(torch, "Generator", lambda _: SimpleNamespace(manual_seed=lambda _: None))
        device = torch.device("cuda")
        paint(label_map, 0, device)
        gpu.waits.clear()  # the operator of `resize` has been copied, once and for all
        pictures = [paint(label_map, seed, device) for seed in range(8)]
        assert {(picture.shape, picture.dtype, picture.device.type) for picture in pictures} == {
            ((3, 48, 48), torch.uint8, "cuda")
        }
    assert (gpu.waits, gpu.float64) == ([], [])


def test_pictures_have_contrast_and_edges_of_every_strength():
    pictures = torch.stack([draw_picture(seed, 96) for seed in range(6)])
    assert pictures.shape == (6, 3, 96, 96)
    assert pictures.dtype == torch.uint8
    assert all(picture.max() - picture.min() > 80 for picture in pictures)
    steps = pictures.float().diff(dim=3).abs().numpy()
    assert np.percentile(steps, 50) < 6 < 25 < np.percentile(steps, 99)  # smooth mostly, with strong edges


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_fractal_noise_has_the_given_spectrum(slope):
    spectra = torch.tensor([[1.0, 2.0, 0.3], [slope, 1.0, 0.0]])
    noise = fractal_noise(spectra, 256, torch.Generator().manual_seed(0))[1].numpy()
    assert abs(noise.mean()) < 1e-3
    assert abs(noise.std() - 1) < 1e-3
    amplitude = np.abs(np.fft.fft2(noise))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    inside = (frequency > 0.02) & (frequency < 0.4)
    fitted = np.polyfit(np.log(frequency[inside]), np.log(amplitude[inside]), 1)[0]
    assert fitted == pytest.approx(-slope, abs=0.05)


def test_stretched_noise_changes_faster_across_its_angle():
    spectra = torch.tensor([[1.5, 4.0, angle] for angle in (0.0, np.pi / 2)])
    along_x, along_y = fractal_noise(spectra, 128, torch.Generator().manual_seed(0))
    for noise, axis in ((along_x, 1), (along_y, 0)):
        assert noise.diff(dim=axis).std() < 0.7 * noise.diff(dim=1 - axis).std()
