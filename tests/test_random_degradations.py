import numpy as np

from zssr.degradation.resamplers import RESAMPLERS, Resampler
from zssr.prior.random_degradations import draw_degradations


def test_degradations_depend_on_the_seed_and_cover_all_kernels():
    drawn, again = draw_degradations(300, 1, 2), draw_degradations(300, 1, 2)
    kernels, same = ([one.kernel for one in each if isinstance(one.kernel, np.ndarray)] for each in (drawn, again))
    assert all(np.array_equal(*pair) for pair in zip(kernels, same, strict=True))
    assert 0.15 < sum(one.kernel is None for one in drawn) / 300 < 0.35
    named, same = ([one.kernel for one in each if isinstance(one.kernel, Resampler)] for each in (drawn, again))
    assert named == same
    assert 0.15 < len(named) / 300 < 0.35
    assert {one.name for one in named} == {*RESAMPLERS} - {"bicubic"}
    assert 0.4 < max(one.blur for one in named) < 0.6
    assert 0.15 < sum(one.sampling == "top_left" for one in drawn) / 300 < 0.35
    assert all(one.scale == (2, 2) for one in drawn)
    y, x = np.mgrid[-12:13, -12:13]
    moments = [[(kernel * part).sum() for part in (1, x, y, x * x, y * y, x * y)] for kernel in kernels]
    total, right, down, across, along, slant = np.array(moments).T
    assert np.allclose(total, 1)
    assert np.allclose(right, 0, atol=1e-9)
    assert np.allclose(down, 0, atol=1e-9)
    assert min(across.min(), along.min()) < 0.3
    assert max(across.max(), along.max()) > 4
    assert slant.min() < -0.5 < 0.5 < slant.max()


def test_noisy_degradations_have_noise_and_jpeg_of_all_strengths():
    drawn = draw_degradations(400, 1, 2, noisy=True)
    assert all(one.quantized and one.scale == (2, 2) for one in drawn)
    noises = [one.noise for one in drawn if one.noise]
    qualities = [one.jpeg.quality for one in drawn if one.jpeg]
    assert 0.3 < len(noises) / 400 < 0.7
    assert min(noises) < 1
    assert max(noises) > 40
    assert 0.4 < len(qualities) / 400 < 0.6
    assert min(qualities) < 30
    assert max(qualities) > 90
    assert {one.jpeg.subsampling for one in drawn if one.jpeg} == {"4:4:4", "4:2:2", "4:2:0"}
    assert sum(one.kernel is None for one in drawn) > 0.4 * 400
    assert any(one.is_clean for one in drawn)
