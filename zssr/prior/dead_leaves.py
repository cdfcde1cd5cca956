"""Synthetic training pictures by the dead leaves model (Lee, Mumford and Huang 2001).

Random shapes occlude each other in a label map of twice the picture's size. Each label gets a color, a shading, a
fractal texture and perhaps a grating. The result is blurred and downsampled. No photograph is used.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from zssr.degradation import resize

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]
Points = NDArray[np.float64]
Random = np.random.Generator
Draw = ImageDraw.ImageDraw

PICTURE_SIZE = 256
"""Side in pixels of the pictures that priors are trained on."""

_OVERSAMPLING = 2


def draw_picture(seed: int, size: int = PICTURE_SIZE) -> NDArray[np.uint8]:
    """Draw a picture (size, size, 3) that depends on `seed` and `size` alone."""
    rng = np.random.default_rng(seed)
    side = _OVERSAMPLING * size
    labels, centers = _draw_labels(rng, side)
    large = _paint(rng, labels, centers)
    illumination = np.exp(rng.uniform(0, 0.4) * fractal_noise(rng, side, 2.5))[..., None]
    large = _blur_out_of_focus(rng, large * illumination)
    planes = torch.from_numpy(np.ascontiguousarray(large.transpose(2, 0, 1)))[None]
    small = resize(planes, (size, size), (1 / _OVERSAMPLING, 1 / _OVERSAMPLING))[0].numpy().transpose(1, 2, 0)
    small = _adjust_tones(rng, small)
    if rng.random() < 0.5:
        small = small + rng.normal(0, rng.uniform(0, 3) / 255, small.shape)
    return np.asarray((255 * small.clip(0, 1)).round(), np.uint8)


def fractal_noise(rng: Random, side: int, slope: float, stretch: float = 1.0, angle: float = 0.0) -> Floats:
    """Draw noise (side, side) of mean 0 and variance 1 with the amplitude spectrum frequency^-slope.

    `stretch` other than 1 makes it anisotropic, along `angle` in radians.
    """
    y, x = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    u, v = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x
    frequency = np.hypot(u * stretch, v)
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.standard_normal((side, side), np.float32)) * frequency**-slope
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, (side, side))
    return np.asarray(noise / noise.std(), np.float32)


def _draw_labels(rng: Random, side: int) -> tuple[Labels, Floats]:
    """Draw shapes over each other; return the label map (side, side) and the centers (N, 2) as (x, y) by label."""
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
    return np.asarray(image, np.int32), np.concatenate([[[side / 2, side / 2]], centers]).astype(np.float32)


def _fill_outline(draw: Draw, points: Points, center: Points, turn: float, label: int) -> None:
    """Fill the outline `points` (N, 2) as (x, y), rotated by `turn` radians and moved to `center`."""
    cosine, sine = math.cos(turn), math.sin(turn)
    turned = points @ np.array([[cosine, sine], [-sine, cosine]]) + center
    draw.polygon(turned.ravel().tolist(), fill=label)


def _draw_ellipse(draw: Draw, rng: Random, center: Points, radius: float, turn: float, label: int) -> None:
    """Draw an ellipse of random eccentricity."""
    t = np.linspace(0, 2 * math.pi, int(min(12 + radius, 90)), endpoint=False)
    squeeze = rng.uniform(0.25, 1)
    _fill_outline(draw, radius * np.stack([np.cos(t), squeeze * np.sin(t)], 1), center, turn, label)


def _draw_blob(draw: Draw, rng: Random, center: Points, radius: float, turn: float, label: int) -> None:
    """Draw a smooth shape whose radius is a random Fourier series of the angle."""
    t = np.linspace(0, 2 * math.pi, int(min(24 + 2 * radius, 160)), endpoint=False)
    r = np.ones_like(t)
    for k in range(2, 8):
        r += rng.normal(0, 0.6 / k) * np.cos(k * t + rng.uniform(0, 2 * math.pi))
    _fill_outline(draw, radius * (r * np.stack([np.cos(t), rng.uniform(0.4, 1) * np.sin(t)])).T, center, turn, label)


def _draw_polygon(draw: Draw, rng: Random, center: Points, radius: float, turn: float, label: int) -> None:
    """Draw a sheared rectangle, or a polygon of 3 to 7 random corners."""
    if rng.random() < 0.6:
        squeeze, shear = rng.uniform(0.1, 1), rng.normal(0, 0.2)
        points = np.array([[-1, -squeeze], [1 + shear, -squeeze], [1, squeeze], [-1 + shear, squeeze]])
    else:
        t = np.sort(rng.uniform(0, 2 * math.pi, rng.integers(3, 8)))
        points = np.stack([np.cos(t), np.sin(t)], 1)
    _fill_outline(draw, radius * points, center, turn, label)


def _draw_stroke(draw: Draw, rng: Random, center: Points, radius: float, turn: float, label: int) -> None:
    """Draw a curve, thin or thick, whose direction is a random walk."""
    steps = int(rng.integers(2, 24))
    direction = np.cumsum(rng.normal(0, rng.choice([0.02, 0.15, 0.5]), steps)) + turn
    points = np.cumsum(np.stack([np.cos(direction), np.sin(direction)], 1), 0)
    points = (points - points.mean(0)) * (3 * radius / steps) + center
    width = max(1, round(rng.choice([1, 1.5, 2, 3, radius / 4])))
    draw.line(points.ravel().tolist(), fill=label, width=width, joint="curve")


def _draw_glyphs(draw: Draw, rng: Random, center: Points, radius: float, turn: float, label: int) -> None:
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


def _paint(rng: Random, labels: Labels, centers: Floats) -> Floats:
    """Give each label a color, a shading, a texture and perhaps a grating: (side, side, 3)."""
    y, x = np.mgrid[: len(labels), : len(labels)].astype(np.float32)
    gray = _draw_shading(rng, labels, centers, x, y) + _draw_texture(rng, labels, len(centers))
    colors = _draw_colors(rng, len(centers))[labels]
    return colors + gray[..., None] + _draw_gratings(rng, labels, len(centers), x, y)


def _draw_colors(rng: Random, count: int) -> Floats:
    """Draw colors (count, 3), mostly of low saturation, around a palette of 2 to 8."""
    tint = rng.normal(0, rng.choice([0.02, 0.06, 0.15]), (1, 3))
    palette = rng.beta(0.9, 0.9, (int(rng.integers(2, 9)), 1)) + tint
    palette = palette + rng.normal(0, rng.choice([0.01, 0.05, 0.15]), (len(palette), 3))
    light = rng.normal(0, rng.choice([0.05, 0.15, 0.3]), (count, 1))
    colors = palette[rng.integers(len(palette), size=count)] + light + rng.normal(0, 0.03, (count, 3))
    return np.asarray(colors, np.float32)


def _draw_shading(rng: Random, labels: Labels, centers: Floats, x: Floats, y: Floats) -> Floats:
    """Draw a linear gradient across each label: (side, side)."""
    slope = (rng.normal(0, rng.choice([0.0, 0.1, 0.3]), (len(centers), 2)) * 2 / len(labels)).astype(np.float32)
    dx, dy = x - centers[labels, 0], y - centers[labels, 1]
    return np.asarray(slope[labels, 0] * dx + slope[labels, 1] * dy)


def _draw_texture(rng: Random, labels: Labels, count: int) -> Floats:
    """Draw one of five fractal textures, some anisotropic, on each label: (side, side)."""
    side = len(labels)
    fields = [
        fractal_noise(rng, side, rng.uniform(0.3, 1.8), math.exp(abs(rng.normal(0, 0.7))), rng.uniform(0, math.pi))
        for _ in range(5)
    ]
    which = rng.integers(len(fields), size=count)[labels]
    strength = (rng.choice([0.02, 0.05, 0.1]) * rng.random(count) ** 2).astype(np.float32)
    return np.asarray(strength[labels] * np.choose(which, fields))


def _draw_gratings(rng: Random, labels: Labels, count: int, x: Floats, y: Floats) -> Floats:
    """Draw stripes on some labels, soft or sharp, straight or warped: (side, side, 3)."""
    striped = rng.random(count) < rng.choice([0.05, 0.2, 0.5])
    period = _OVERSAMPLING * np.exp(rng.uniform(math.log(2.2), math.log(24), count))
    angle = rng.uniform(0, 2 * math.pi, count)
    u, v = (2 * math.pi / period * part for part in (np.cos(angle), np.sin(angle)))
    warp = rng.choice([0.0, 4.0, 20.0])
    x, y = (axis + warp * fractal_noise(rng, len(labels), 2.2) for axis in (x, y))
    phase = u.astype(np.float32)[labels] * x + v.astype(np.float32)[labels] * y
    sharp = np.exp(rng.uniform(-1, 2, count)).astype(np.float32)[labels]
    wave = np.tanh(sharp * np.sin(phase + rng.uniform(0, 2 * math.pi, count).astype(np.float32)[labels]))
    contrast = striped[:, None] * rng.normal(0, 0.15, (count, 1)) * (1 + rng.normal(0, 0.2, (count, 3)))
    return np.asarray(contrast.astype(np.float32)[labels] * wave[..., None])


def _blur_out_of_focus(rng: Random, large: Floats) -> Floats:
    """Blur nothing, everything, or some regions by a smooth random mask, as if they were out of focus."""
    kind = rng.random()
    if kind < 0.4:
        return large
    blurred = gaussian_filter(large, (*[_OVERSAMPLING * rng.uniform(0.3, 1.2)] * 2, 0))
    if kind < 0.65:
        return blurred
    far = fractal_noise(rng, len(large), 2.0)
    mask = (0.5 + rng.uniform(0.5, 2) * (far - rng.normal())).clip(0, 1)[..., None]
    return np.asarray(large + mask * (blurred - large), np.float32)


def _adjust_tones(rng: Random, picture: Floats) -> Floats:
    """Stretch the values between random black and white points, with a random gamma."""
    low, high = np.percentile(picture, (rng.uniform(0, 4), rng.uniform(96, 100)))
    black, white = rng.beta(1, 8), 1 - rng.beta(1, 8)
    stretched = ((picture - low) / max(high - low, 1e-3)).clip(0, 1.2)
    return np.asarray(black + (white - black) * stretched ** rng.uniform(0.7, 1.4), np.float32)
