"""A plain training loop as the papers on zero-shot super-resolution describe it, to compare zssr's training with.

Convolutions at the size of the output, on the interpolated son; fp32; one 128x128 crop of a father per step, which is
downsampled and interpolated in every step; rotations, flips and several sizes of the father (Shocher et al. 2018, sec.
3). It uses zssr's own resize, which is faster than the papers' code, zssr's fathers' sizes, drawn alike instead of by
area, PyTorch's own start weights, and no shear or other augmentation.
"""

import torch
from torch import Tensor, nn

from zssr.degradation import Degradation, resize
from zssr.geometry import SYMMETRIES
from zssr.training.pairs import FATHER_SIZES

CROP = 128


class ReferenceLoop:
    """Training on one photo (1, C, H, W) at a whole `scale`."""

    def __init__(self, photo: Tensor, scale: int, generator: torch.Generator) -> None:
        self.photo = photo
        self.scale = scale
        self.generator = generator
        channels = photo.shape[1]
        widths = [channels, *[64] * 7, channels]
        layers: list[nn.Module] = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            for k in range(8):
                layers += [nn.Conv2d(widths[k], widths[k + 1], 3, padding=1), nn.ReLU(inplace=True)]
        self.network = nn.Sequential(*layers[:-1])
        self.adam = torch.optim.Adam(self.network.parameters(), lr=1e-3)

    def step(self, rate: float) -> None:
        """Draw a father, make its son, and train on the pair."""
        father = self._father()
        predicted = self._predict(self._son(father), (father.shape[-2], father.shape[-1]))
        loss = nn.functional.l1_loss(predicted, father)
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.adam.step()

    @torch.no_grad()
    def error(self) -> float:
        """Return the error of reconstructing the photo from its own son, which the papers' slope rule looks at."""
        predicted = self._predict(self._son(self.photo), (self.photo.shape[-2], self.photo.shape[-1]))
        return float(nn.functional.l1_loss(predicted, self.photo))

    @torch.no_grad()
    def upscale(self) -> Tensor:
        """Apply the network to the photo: 8-fold median, back-projected."""
        degradation = Degradation()
        size = (self.scale * self.photo.shape[-2], self.scale * self.photo.shape[-1])
        results = []
        for symmetry in SYMMETRIES:
            turned = symmetry(self.photo)
            large = symmetry.inverse(self._predict(turned, size if symmetry.turns % 2 == 0 else size[::-1]))
            results.append(degradation.back_project(large, self.photo, 4))
        middle = torch.stack(results).sort(0).values[3:5].mean(0)
        return degradation.back_project(middle, self.photo, 4).clamp(0, 1)

    def _father(self) -> Tensor:
        height, width = self.photo.shape[-2:]
        size = FATHER_SIZES[self._randint(len(FATHER_SIZES))]
        father = resize(self.photo, (round(size * height), round(size * width)), (size, size))
        rows, columns = (min(CROP, length) // self.scale * self.scale for length in father.shape[-2:])
        top, left = self._randint(father.shape[-2] - rows + 1), self._randint(father.shape[-1] - columns + 1)
        return SYMMETRIES[self._randint(8)](father[..., top : top + rows, left : left + columns]).contiguous()

    def _son(self, father: Tensor) -> Tensor:
        height, width = father.shape[-2:]
        return resize(father, (height // self.scale, width // self.scale), (1 / self.scale, 1 / self.scale))

    def _predict(self, son: Tensor, size: tuple[int, int]) -> Tensor:
        interpolated = resize(son, size, (self.scale, self.scale))
        residual: Tensor = self.network(interpolated)
        return interpolated + residual

    def _randint(self, limit: int) -> int:
        return int(torch.randint(limit, (), generator=self.generator))
