"""Synthetic training pictures by the dead leaves model (Lee, Mumford and Huang 2001).

Random shapes occlude each other in a label map of twice the picture's size. Each label gets a color, a shading, a
fractal texture and perhaps a grating. The result is blurred and downsampled. No photograph is used.

Label maps are drawn on the CPU, and painted on any device, as often as one likes.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn.functional import conv2d

from zssr.degradation import resize

Floats = NDArray[np.float64]
Random = np.random.Generator
Draw = ImageDraw.ImageDraw

PICTURE_SIZE = 256
"""Side in pixels of the pictures that priors are trained on."""

_OVERSAMPLING = 2
_TEXTURES = 5


class LabelMap(NamedTuple):
    """Shapes over each other.

    Attributes
    ----------
    labels
        The shape at each pixel (side, side), 0 where there is none; `side` is twice that of the picture.
    centers
        Where the shapes lie (N, 2), as (x, y) by label.
    """

    labels: NDArray[np.int16]
    centers: Floats


def draw_labels(seed: int, size: int = PICTURE_SIZE) -> LabelMap:
    """Draw the label map of a picture (size, size); it depends on `seed` and `size` alone."""
    rng = np.random.default_rng(seed)
    side = _OVERSAMPLING * size
    count = round(math.exp(rng.uniform(math.log(60), math.log(2500))))
    smallest = math.exp(rng.uniform(math.log(1.0), math.log(8.0))) * _OVERSAMPLING
    largest = rng.uniform(0.1, 0.5) * side
    radii = np.minimum(smallest * rng.random(count) ** (-1 / rng.uniform(0.7, 2.0)), largest)
    rank = np.log(radii) + rng.normal(0, rng.uniform(0.2, 1.5), count)
    radii = radii[np.argsort(-rank)]
    centers = rng.uniform(-0.05 * side, 1.05 * side, (count, 2))
    shapes = (_draw_ellipse, _draw_blob, _draw_polygon, _draw_stroke, _draw_glyphs)
    shares = rng.dirichlet([1.0, 1.0, 1.0, 0.7, 0.5])
    image = Image.new("I", (side, side), 0)
    draw = ImageDraw.Draw(image)
    angle, spread = rng.uniform(0, math.pi), rng.choice([0.1, 0.5, 3.0])
    for label in range(count):
        turn = angle + rng.normal(0, spread) + rng.integers(2) * math.pi / 2
        shapes[rng.choice(len(shapes), p=shares)](draw, rng, centers[label], radii[label], turn, label + 1)
    return LabelMap(np.asarray(image).astype(np.int16), np.concatenate([[[side / 2, side / 2]], centers]))


def paint(label_map: LabelMap, seed: int, device: torch.device) -> Tensor:
    """Paint a picture (3, size, size) in uint8 on a device; it depends on the arguments alone.

    Nothing waits for the device. The same seed gives the same colors on all devices, and other noise.
    """
    rng = np.random.default_rng((seed, 1))  # another one than that of the label map of this seed
    generator = torch.Generator(device).manual_seed(int(rng.integers(2**63)))
    side = len(label_map.labels)
    textures, warps, (illumination, distance) = _draw_fields(rng, side, generator, device)
    large = _paint_labels(rng, label_map, textures, warps) * (rng.uniform(0, 0.4) * illumination).exp()
    large = _blur_out_of_focus(rng, large, distance)
    small = resize(large, (side // _OVERSAMPLING,) * 2, (1 / _OVERSAMPLING,) * 2)
    small = _adjust_tones(rng, small)
    if rng.random() < 0.5:
        small = small + rng.uniform(0, 3) / 255 * torch.randn(small.shape, generator=generator, device=device)
    return (255 * small.clamp(0, 1)).round().to(torch.uint8)


def fractal_noise(spectra: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Draw noise (N, side, side) of mean 0 and variance 1 with the amplitude spectra frequency^-slope.

    `spectra` (N, 3), on the device of `generator`, holds slopes, how far the noise is stretched (1: it is isotropic),
    and along which angles in radians.
    """
    device = spectra.device
    slope, stretch, angle = spectra[..., None, None].unbind(1)
    cosine, sine = angle.cos(), angle.sin()
    x, y = torch.fft.rfftfreq(side, device=device), torch.fft.fftfreq(side, device=device)[:, None]
    squared = (stretch * (cosine * x + sine * y)).square() + (cosine * y - sine * x).square()
    amplitude = (-slope / 2 * squared.log()).exp()
    amplitude[:, 0, 0] = 0
    white = torch.randn(len(spectra), side, side, generator=generator, device=device)
    noise: Tensor = torch.fft.irfft2(torch.fft.rfft2(white) * amplitude, (side, side))
    return noise * noise.square().mean((1, 2), keepdim=True).rsqrt()


def _fill_outline(draw: Draw, points: Floats, center: Floats, turn: float, label: int) -> None:
    """Fill the outline `points` (N, 2) as (x, y), rotated by `turn` radians and moved to `center`."""
    cosine, sine = math.cos(turn), math.sin(turn)
    turned = points @ np.array([[cosine, sine], [-sine, cosine]]) + center
    draw.polygon(turned.ravel().tolist(), fill=label)


def _draw_ellipse(draw: Draw, rng: Random, center: Floats, radius: float, turn: float, label: int) -> None:
    """Draw an ellipse of random eccentricity."""
    t = np.linspace(0, 2 * math.pi, int(min(12 + radius, 90)), endpoint=False)
    squeeze = rng.uniform(0.25, 1)
    _fill_outline(draw, radius * np.stack([np.cos(t), squeeze * np.sin(t)], 1), center, turn, label)


def _draw_blob(draw: Draw, rng: Random, center: Floats, radius: float, turn: float, label: int) -> None:
    """Draw a smooth shape whose radius is a random Fourier series of the angle."""
    t = np.linspace(0, 2 * math.pi, int(min(24 + 2 * radius, 160)), endpoint=False)
    r = np.ones_like(t)
    for k in range(2, 8):
        r += rng.normal(0, 0.6 / k) * np.cos(k * t + rng.uniform(0, 2 * math.pi))
    _fill_outline(draw, radius * (r * np.stack([np.cos(t), rng.uniform(0.4, 1) * np.sin(t)])).T, center, turn, label)


def _draw_polygon(draw: Draw, rng: Random, center: Floats, radius: float, turn: float, label: int) -> None:
    """Draw a sheared rectangle, or a polygon of 3 to 7 random corners."""
    if rng.random() < 0.6:
        squeeze, shear = rng.uniform(0.1, 1), rng.normal(0, 0.2)
        points = np.array([[-1, -squeeze], [1 + shear, -squeeze], [1, squeeze], [-1 + shear, squeeze]])
    else:
        t = np.sort(rng.uniform(0, 2 * math.pi, rng.integers(3, 8)))
        points = np.stack([np.cos(t), np.sin(t)], 1)
    _fill_outline(draw, radius * points, center, turn, label)


def _draw_stroke(draw: Draw, rng: Random, center: Floats, radius: float, turn: float, label: int) -> None:
    """Draw a curve, thin or thick, whose direction is a random walk."""
    steps = int(rng.integers(2, 24))
    direction = np.cumsum(rng.normal(0, rng.choice([0.02, 0.15, 0.5]), steps)) + turn
    points = np.cumsum(np.stack([np.cos(direction), np.sin(direction)], 1), 0)
    points = (points - points.mean(0)) * (3 * radius / steps) + center
    width = max(1, round(rng.choice([1, 1.5, 2, 3, radius / 4])))
    draw.line(points.ravel().tolist(), fill=label, width=width, joint="curve")


def _draw_glyphs(draw: Draw, rng: Random, center: Floats, radius: float, turn: float, label: int) -> None:
    """Draw a row of letter-like signs made of short straight strokes."""
    height = float(np.clip(radius / 2, 6, 60))
    width = max(1, round(height * rng.uniform(0.08, 0.22)))
    along = np.array([math.cos(turn), math.sin(turn)])
    across = np.array([-along[1], along[0]])
    grid = np.array([(i, j) for i in (0, 0.55) for j in (0, 0.5, 1.0)])
    for k in range(int(rng.integers(2, 9))):
        at = grid[rng.permutation(len(grid))[: rng.integers(3, 6)]] + [k * 0.9, 0]
        points = center + height * (at[:, :1] * along + at[:, 1:] * across)
        draw.line(points.ravel().tolist(), fill=label, width=width)


def _draw_fields(
    rng: Random, side: int, generator: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw fractal noise (N, side, side): 5 textures, some anisotropic, 2 warps, and the light and the distance."""
    spectra = [
        (rng.uniform(0.3, 1.8), math.exp(abs(rng.normal(0, 0.7))), rng.uniform(0, math.pi)) for _ in range(_TEXTURES)
    ]
    spectra += [(slope, 1.0, 0.0) for slope in (2.2, 2.2, 2.5, 2.0)]
    noise = fractal_noise(_move_table(np.array(spectra), device), side, generator)
    return noise[:_TEXTURES], noise[_TEXTURES:-2], noise[-2:]


def _paint_labels(rng: Random, label_map: LabelMap, textures: Tensor, warps: Tensor) -> Tensor:
    """Give each label a color, a shading, a texture and perhaps a grating: (3, side, side)."""
    device, side, count = textures.device, len(label_map.labels), len(label_map.centers)
    colors, slopes = _draw_colors(rng, count), _draw_slopes(rng, count) * 2 / side
    corners = colors - (slopes * label_map.centers).sum(1, keepdims=True)  # what the colors would be at (0, 0)
    table = np.concatenate([corners, slopes, _draw_textures(rng, count), _draw_gratings(rng, count)], 1)
    labels = _move(torch.from_numpy(label_map.labels), device).int()
    values = _move_table(table.T, device).index_select(1, labels.flatten()).view(-1, side, side)
    corner, slope, (texture, strength), (u, v, phase, sharpness), contrast = torch.split(values, [3, 2, 2, 4, 3])
    x = torch.arange(side, dtype=torch.float32, device=device)
    y = x[:, None]
    gray: Tensor = slope[0] * x + slope[1] * y + strength * textures.gather(0, texture.long()[None])[0]
    warps = float(rng.choice([0.0, 4.0, 20.0])) * warps
    wave: Tensor = (sharpness * (u * (x + warps[0]) + v * (y + warps[1]) + phase).sin()).tanh()
    return corner + gray + contrast * wave


def _draw_colors(rng: Random, count: int) -> Floats:
    """Draw colors (count, 3), mostly of low saturation, around a palette of 2 to 8."""
    tint = rng.normal(0, rng.choice([0.02, 0.06, 0.15]), (1, 3))
    palette = rng.beta(0.9, 0.9, (int(rng.integers(2, 9)), 1)) + tint
    palette = palette + rng.normal(0, rng.choice([0.01, 0.05, 0.15]), (len(palette), 3))
    light = rng.normal(0, rng.choice([0.05, 0.15, 0.3]), (count, 1))
    return np.asarray(palette[rng.integers(len(palette), size=count)] + light + rng.normal(0, 0.03, (count, 3)))


def _draw_slopes(rng: Random, count: int) -> Floats:
    """Draw linear gradients (count, 2) along x and y, per half side of the picture."""
    return rng.normal(0, rng.choice([0.0, 0.1, 0.3]), (count, 2))


def _draw_textures(rng: Random, count: int) -> Floats:
    """Draw which texture each label has, and how strong it is: (count, 2)."""
    which = rng.integers(_TEXTURES, size=count)
    return np.stack([which, rng.choice([0.02, 0.05, 0.1]) * rng.random(count) ** 2], 1)


def _draw_gratings(rng: Random, count: int) -> Floats:
    """Draw stripes, soft or sharp, of which only some are seen.

    Rows (count, 7) hold the change of phase along x and along y, the phase, the sharpness, and the contrast in each
    color.
    """
    striped = rng.random(count) < rng.choice([0.05, 0.2, 0.5])
    frequency = 2 * math.pi / (_OVERSAMPLING * np.exp(rng.uniform(math.log(2.2), math.log(24), count)))
    angle, phase = rng.uniform(0, 2 * math.pi, (2, count))
    sharpness = np.exp(rng.uniform(-1, 2, count))
    waves = np.stack([frequency * np.cos(angle), frequency * np.sin(angle), phase, sharpness], 1)
    contrast = striped[:, None] * rng.normal(0, 0.15, (count, 1)) * (1 + rng.normal(0, 0.2, (count, 3)))
    return np.concatenate([waves, contrast], 1)


def _blur_out_of_focus(rng: Random, large: Tensor, distance: Tensor) -> Tensor:
    """Blur nothing, everything, or some regions by a smooth random mask, as if they were out of focus."""
    kind = rng.random()
    if kind < 0.4:
        return large
    blurred = _blur(large, _OVERSAMPLING * rng.uniform(0.3, 1.2))
    if kind < 0.65:
        return blurred
    mask = (0.5 + rng.uniform(0.5, 2) * (distance - rng.normal())).clamp(0, 1)
    return large + mask * (blurred - large)


def _blur(image: Tensor, sigma: float) -> Tensor:
    """Blur an image (3, H, W), mirrored at its border, by a Gaussian that is cut off at four standard deviations."""
    radius = round(4 * sigma)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel = _move_table(taps / taps.sum(), image.device).expand(len(image), 1, 1, -1)
    for axis in (1, 2):
        first, last = image.narrow(axis, 0, radius), image.narrow(axis, image.shape[axis] - radius, radius)
        image = torch.cat([first.flip(axis), image, last.flip(axis)], axis)
    return conv2d(conv2d(image, kernel, groups=len(image)), kernel.mT, groups=len(image))


def _adjust_tones(rng: Random, picture: Tensor) -> Tensor:
    """Stretch the values between random black and white points, with a random gamma."""
    low, high = (_draw_percentile(rng, picture.flatten(), largest=largest) for largest in (False, True))
    black, white = rng.beta(1, 8), 1 - rng.beta(1, 8)
    stretched = ((picture - low) / (high - low).clamp(min=1e-3)).clamp(0, 1.2)
    return black + (white - black) * stretched.pow(rng.uniform(0.7, 1.4))


def _draw_percentile(rng: Random, values: Tensor, *, largest: bool) -> Tensor:
    """Return the value that a random share, up to 4 %, of `values` (N,) lies above if `largest`, or else below."""
    rank = rng.uniform(0, 0.04) * (len(values) - 1)
    beyond = values.topk(int(rank) + 2, largest=largest).values
    return beyond[-2].lerp(beyond[-1], rank % 1)


def _move_table(table: Floats, device: torch.device) -> Tensor:
    """Copy a table (any shape) to a device in float32, without waiting for it."""
    return _move(torch.from_numpy(table.astype(np.float32, order="C")), device)


def _move(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device without waiting for it."""
    on_gpu = device.type == "cuda"
    return (tensor.pin_memory() if on_gpu else tensor).to(device, non_blocking=on_gpu)
