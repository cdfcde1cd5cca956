import numpy as np
import pytest

from zssr.prior.dead_leaves import draw_picture, fractal_noise


def test_picture_depends_on_the_seed_alone():
    assert np.array_equal(draw_picture(5, 48), draw_picture(5, 48))
    assert not np.array_equal(draw_picture(5, 48), draw_picture(6, 48))


def test_pictures_have_contrast_and_edges_of_every_strength():
    for seed in range(6):
        drawn = draw_picture(seed, 96)
        assert drawn.shape == (96, 96, 3)
        assert drawn.dtype == np.uint8
        assert np.ptp(drawn) > 80
    steps = np.concatenate([np.abs(np.diff(draw_picture(seed, 96).astype(int), axis=1)).ravel() for seed in range(6)])
    assert np.percentile(steps, 50) < 6 < 25 < np.percentile(steps, 99)  # smooth mostly, with strong edges


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_fractal_noise_has_the_given_spectrum(slope):
    noise = fractal_noise(np.random.default_rng(0), 256, slope)
    assert abs(noise.mean()) < 1e-3
    assert abs(noise.std() - 1) < 1e-3
    amplitude = np.abs(np.fft.fft2(noise))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    inside = (frequency > 0.02) & (frequency < 0.4)
    fitted = np.polyfit(np.log(frequency[inside]), np.log(amplitude[inside]), 1)[0]
    assert fitted == pytest.approx(-slope, abs=0.05)
