import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage import data

from zssr.color import luma
from zssr.degradation.jpeg import Jpeg
from zssr.degradation.noise import add_noise, is_quantized, quantize
from zssr.estimation.blur_kernel import estimate_blur
from zssr.estimation.jpeg_quality import estimate_jpeg
from zssr.estimation.noise_level import estimate_noise_level
from zssr.estimation.periodogram import measure_spectrum

CAT = torch.from_numpy(data.chelsea()[60:204, 100:268].astype(np.float32) / 255).permute(2, 0, 1)[None]


def pad(image, margin, value):
    """Return an image (1, C, H, W) in a frame, and where it is content (H, W)."""
    sides = (margin, margin, margin, margin)
    content = torch.nn.functional.pad(torch.ones(image.shape[-2:], dtype=torch.bool), sides)
    return torch.nn.functional.pad(image, sides, value=value), content


@pytest.mark.parametrize("value", [0.0, 0.5, 0.97])
def test_estimates_look_at_the_content_only(value, generator):
    noisy = quantize(add_noise(CAT, 10.0, generator))
    framed, content = pad(noisy, 24, value)  # of whole blocks
    assert estimate_noise_level(framed, content) == pytest.approx(estimate_noise_level(noisy), rel=0.1)
    compressed, content = pad(Jpeg.from_quality(60).compress(CAT), 24, value)
    assert estimate_jpeg(compressed, content) == Jpeg.from_quality(60)
    blurred = luma(torch.from_numpy(gaussian_filter(CAT[0].numpy(), (0, 1, 1)))).copy()
    inside = np.pad(blurred, 24, constant_values=value)
    np.testing.assert_allclose(measure_spectrum(inside, content.numpy()), measure_spectrum(blurred), rtol=0.2)
    found, alone = (estimate_blur(*one).blur for one in ((inside, (2.0, 2.0), content.numpy()), (blurred, (2.0, 2.0))))
    assert found.along == pytest.approx(alone.along, abs=0.15)


def test_little_content_is_not_judged_and_less_of_it_is_less_sure():
    blurred = luma(torch.from_numpy(gaussian_filter(CAT[0].numpy(), (0, 1, 1))))
    content = np.zeros(blurred.shape, bool)
    content[:31, :31] = True
    estimate = estimate_blur(blurred, (2.0, 2.0), content)
    assert (estimate.confidence, estimate.blur) == (0.0, None)
    assert "too little content" in estimate.reason
    content[40:88, 40:88] = True
    assert estimate_blur(blurred, (2.0, 2.0), content).confidence < estimate_blur(blurred, (2.0, 2.0)).confidence
    assert is_quantized(torch.tensor([[0.3, 1.0]]), torch.tensor([[False, True]]))
