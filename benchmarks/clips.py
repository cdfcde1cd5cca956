"""Clips made from pictures: a camera that pans, zooms and turns, an object that moves, a cut; their true motion."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter, map_coordinates

from zssr.degradation import Degradation
from zssr.video.planes import find_layout, make_frame, read_planes

Gray = NDArray[np.float64]

SCENES = ("pan", "zoom", "rotation", "object", "cut", "noise", "h264", "aliased")
"""Kinds of clips; all but "zoom" and "rotation" pan, too."""


@dataclass(frozen=True)
class Scene:
    """A clip that is made from a picture.

    Attributes
    ----------
    kind
        One of `SCENES`.
    pictures
        Brightness of two pictures, 0 to 255; the second is for an object or after a cut.
    size, count
        (H, W) of the true frames, and how many there are.
    """

    kind: str
    pictures: Sequence[Gray]
    size: tuple[int, int]
    count: int

    def matrix(self, k: int) -> Gray:
        """Return what takes pixels (row, column, 1) of the k-th true frame to the picture (2, 3)."""
        height, width = self.size
        middle = np.array([(height - 1) / 2, (width - 1) / 2])
        turn = 0.012 * k if self.kind == "rotation" else 0.0
        scale = 1 - 0.012 * k if self.kind == "zoom" else 1.0
        linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        speed = np.array([0.63, 1.37]) if self.kind not in ("zoom", "rotation") else np.zeros(2)
        target = np.array(self.pictures[0].shape) / 2 + speed * (k - self.count / 2)
        return np.column_stack([linear, target - linear @ middle])

    @cached_property
    def truth(self) -> list[Gray]:
        """The true frames (H, W), 0 to 255."""
        frames = [self._look(k) for k in range(self.count)]
        return [np.clip(np.round(frame), 0, 255) for frame in frames]

    @cached_property
    def small(self) -> list[Gray]:
        """The frames that are to be upscaled, half as large, 0 to 255."""
        generator = np.random.default_rng(0)
        made = []
        for frame in self.truth:
            noise = generator.normal(0, 3 if self.kind == "noise" else 0, (frame.shape[0] // 2, frame.shape[1] // 2))
            made.append(np.clip(np.round(self._shrink(frame) + noise), 0, 255))
        return made

    def follow(self, frames: Sequence[Gray], k: int) -> Gray:
        """Return the frame after the k-th, moved onto it by the true motion of the camera."""
        here, there = (np.vstack([self.matrix(n), [0, 0, 1]]) for n in (k, k + 1))
        back = np.linalg.inv(there) @ here
        return np.asarray(affine_transform(frames[k + 1], back[:2, :2], back[:2, 2], order=3, mode="mirror"))

    def _look(self, k: int) -> Gray:
        picture = self.pictures[1] if self.kind == "cut" and k >= self.count // 2 else self.pictures[0]
        matrix = self.matrix(k)
        frame = affine_transform(picture, matrix[:, :2], matrix[:, 2], self.size, order=3, mode="mirror")
        return self._place_object(frame, k) if self.kind == "object" else np.asarray(frame)

    def _place_object(self, frame: Gray, k: int) -> Gray:
        """Put a disc of the other picture over a tenth of the frame; it moves against the camera."""
        y, x = np.mgrid[: self.size[0], : self.size[1]].astype(float)
        row, column = self.size[0] / 2, self.size[1] * (0.3 + 0.4 * k / max(self.count - 1, 1))
        radius = np.sqrt(0.1 * self.size[0] * self.size[1] / np.pi)
        cover = np.clip(radius - np.hypot(y - row, x - column) + 0.5, 0, 1)
        inside = map_coordinates(self.pictures[1], [y - row + 80, x - column + 80], order=3, mode="mirror")
        return np.asarray(frame + cover * (inside - frame))

    def _shrink(self, frame: Gray) -> Gray:
        if self.kind == "aliased":
            blurred = gaussian_filter(frame, 0.5)  # at half the size, most of what is above its limit folds back
            return np.asarray((blurred[::2, ::2] + blurred[1::2, ::2] + blurred[::2, 1::2] + blurred[1::2, 1::2]) / 4)
        size = (frame.shape[0] // 2, frame.shape[1] // 2)
        return Degradation().downsample(torch.from_numpy(frame)[None, None], size)[0, 0].numpy()


def write_clip(path: Path, frames: Sequence[Gray], *, is_lossy: bool = False) -> None:
    """Write frames (H, W), 0 to 255, as a gray clip: without loss, or in H.264 of the usual quality."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264" if is_lossy else "ffv1", rate=25, options={"crf": "23"} if is_lossy else {})
        stream.height, stream.width = frames[0].shape
        stream.pix_fmt = "yuv420p" if is_lossy else "gray"
        layout = find_layout(stream.pix_fmt)
        for pixels in frames:
            sizes = [layout.plane_size(k, (pixels.shape[0], pixels.shape[1])) for k in range(1, len(layout.order))]
            planes = [pixels.astype(np.uint8), *(np.full(size, 128, np.uint8) for size in sizes)]
            out.mux(stream.encode(make_frame(planes, layout)))
        out.mux(stream.encode())


def read_clip(path: Path) -> list[Gray]:
    """Read the brightness (H, W) of a clip's frames, as it is stored."""
    with av.open(str(path)) as clip:
        frames = list(clip.decode(video=0))
    return [read_planes(frame, find_layout(frame.format.name))[0].astype(float) for frame in frames]
