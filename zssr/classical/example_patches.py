"""What the methods by examples share: patches of the photo's own scales, their features, and their way back."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d, fold, pad, unfold

from zssr.color import LUMA
from zssr.geometry import SYMMETRIES
from zssr.method import ResidualNetwork

Matrix = NDArray[np.float32]
Busy = NDArray[np.bool_]

SIDE = 5
"""Side of a patch in pixels of the interpolated image."""

_FILTERS = torch.zeros(4, 1, 5, 5)
_FILTERS[0, 0, 2, 1:4] = torch.tensor([-1.0, 0, 1])
_FILTERS[1, 0, 1:4, 2] = torch.tensor([-1.0, 0, 1])
_FILTERS[2, 0, 2] = torch.tensor([0.5, 0, -1, 0, 0.5])
_FILTERS[3, 0, :, 2] = torch.tensor([0.5, 0, -1, 0, 0.5])

_SAMPLES = 10000  # patches that are learned from
_COMPONENTS = 20
_FLAT = 0.06  # norm of features below which a patch is left as it is


class PatchNetwork(ResidualNetwork):
    """Predicts each patch of the interpolated image from its first and second derivatives (Yang et al. 2010).

    Overlapping patches are averaged. Of RGB images the luma is sharpened, and of others each band, as a gray image.

    Attributes
    ----------
    fit
        Learns from features (n, d), reduced to principal components, and residual patches (n, 25), with a seed.
    """

    def __init__(self, channels: int, factor: int, fit: Callable[[Matrix, Matrix, int], None], reach: int = 0) -> None:
        super().__init__()
        self.channels, self.factor, self.fit = channels, factor, fit
        self.margin = SIDE + 1 + reach
        self.mean, self.basis = np.zeros(0, np.float32), np.zeros((0, 0), np.float32)

    def predict_patches(self, features: Matrix, busy: Busy, size: tuple[int, int]) -> Tensor:
        """Return the patches (n, 25) of a plane of `size` (H, W), of those of its patches that are `busy`.

        Pixels that are not said are NaN.
        """
        raise NotImplementedError

    def to_features(self, planes: Tensor) -> Matrix:
        """Return the features of all patches of planes (N, 1, H, W), which begin at each pixel inside: (n, d)."""
        derivatives = conv2d(pad(planes, (2, 2, 2, 2), "replicate"), _FILTERS)
        patches: Matrix = unfold(derivatives, SIDE).transpose(1, 2).reshape(-1, 4 * SIDE**2).numpy()
        return project(patches, self.mean, self.basis) if self.basis.size else patches

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Return the residual (N, C, H, W) to be added to the interpolated `image`."""
        if not self.basis.size:
            return torch.zeros_like(image)
        planes = to_planes(image)
        residual = torch.cat([self._predict(plane[None]) for plane in planes.flatten(0, 1)[:, None]])
        return residual.view(planes.shape).expand(image.shape).to(image)

    def _predict(self, plane: Tensor) -> Tensor:
        margin = [SIDE // 2] * 4  # so that patches begin at each pixel
        plane = pad(plane, margin, "replicate")
        features, size = self.to_features(plane), (plane.shape[-2], plane.shape[-1])
        busy: Busy = np.linalg.norm(features + self.mean @ self.basis, axis=1) > _FLAT
        patches = torch.zeros(len(features), SIDE**2)
        if busy.any():
            patches[torch.from_numpy(busy)] = self.predict_patches(features[busy], busy, size)
        crop = slice(SIDE // 2, -(SIDE // 2))
        return average_patches(patches, size)[..., crop, crop]


def to_planes(image: Tensor) -> Tensor:
    """Return the luma (N, 1, H, W) of an RGB image, in which all detail is looked for, or all bands of another."""
    planes = image.detach().cpu().float()
    if planes.shape[1] == len(LUMA):
        planes = (planes * torch.tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    return planes


def project(patches: Matrix, mean: Matrix, basis: Matrix) -> Matrix:
    """Return the coordinates of patches (n, 100) in a basis (100, d)."""
    return np.asarray((patches - mean) @ basis, np.float32)


def average_patches(patches: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the plane (1, 1, H, W) in which patches (n, 25), which begin at each pixel inside, are averaged.

    NaN counts for nothing; where there is nothing else, the average is 0.
    """
    columns = patches.T[None]
    said = torch.isfinite(columns).float()
    return fold(columns.nan_to_num(), size, SIDE) / fold(said, size, SIDE).clamp_min(1)


def learn_patches(network: PatchNetwork, pairs: Sequence[tuple[Tensor, Tensor]], generator: torch.Generator) -> None:
    """Fit a network to patches of interpolated sons and of their residuals, in 8 rotations and flips.

    Features are reduced to their principal components.
    """
    from sklearn.decomposition import PCA  # type: ignore[import-untyped]  # an extra

    features, targets = [], []
    share = _SAMPLES / sum(son[0].numel() for son, _ in pairs)
    for son, residual in pairs:
        symmetry = SYMMETRIES[int(torch.randint(len(SYMMETRIES), (), generator=generator))]
        planes, residuals = (symmetry(to_planes(one[None]))[0][:, None] for one in (son, residual))
        own = network.to_features(planes)
        chosen = np.flatnonzero(np.linalg.norm(own, axis=1) > _FLAT)
        count = min(len(chosen), max(1, round(share * son[0].numel())))
        chosen = chosen[torch.randperm(len(chosen), generator=generator)[:count].numpy()]
        features.append(own[chosen])
        targets.append(unfold(residuals, SIDE).transpose(1, 2).reshape(-1, SIDE**2).numpy()[chosen])
    known, wanted = np.concatenate(features), np.concatenate(targets)
    if len(known) <= _COMPONENTS:
        return  # a flat photo has nothing to learn from
    reduced = PCA(_COMPONENTS, random_state=0).fit(known)
    network.mean, network.basis = reduced.mean_.astype(np.float32), reduced.components_.T.astype(np.float32)
    seed = int(torch.randint(2**31, (), generator=generator))
    order = torch.randperm(len(known), generator=generator).numpy()
    known, wanted = known[order], wanted[order]
    network.fit((known - network.mean) @ network.basis, wanted, seed)
