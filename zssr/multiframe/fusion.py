"""One large image from all frames of a burst: the data terms of all, and a prior (Farsiu et al. 2004; Hardie 1997)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from zssr.classical.data_term import ROUNDING, DataTerm
from zssr.classical.ibp import descend
from zssr.classical.map import PRIORS, minimize_posterior
from zssr.classical.pocs import project_in_turn
from zssr.degradation import Degradation
from zssr.degradation.resize import Floats
from zssr.degradation.scattered import Identity, ScatteredSampling, Stacked
from zssr.geometry import Region
from zssr.multiframe.alignment import AlignedFrame, to_large
from zssr.multiframe.robust import weigh_tukey
from zssr.multiframe.warping import is_inside

Reconstruction = Literal["map", "ibp", "pocs"]
"""How the large image is found that gives all frames."""

_BLOCK = 384  # side in pixels of the reference of what is reconstructed at once
_MARGIN = 24  # pixels of the reference around it
_PRIOR = replace(PRIORS["huber"], strength=0.0085)
_OUTLIER = 0.6  # of the usual scale of Tukey's weights, on residuals that are averaged over some pixels
_PULL = 0.3  # of the single image where there is nothing but the reference


@dataclass(frozen=True)
class Piece:
    """The rectangle of a frame that lies in a block: samples (C, h, w), weights (h, w), positions (2, h, w) in it."""

    samples: Tensor
    weights: Tensor
    positions: Floats
    is_reference: bool

    @property
    def size(self) -> tuple[int, int]:
        """The size (h, w)."""
        return self.weights.shape[0], self.weights.shape[1]

    def compare(self, values: Tensor) -> Floats:
        """Return the error (h, w), averaged over some pixels, of what the piece is said to be (C, h * w)."""
        from scipy.ndimage import gaussian_filter  # other commands do not wait for it

        squares = (self.samples.flatten(1) - values).square().mean(0).view(self.size)
        return np.asarray(np.sqrt(gaussian_filter(squares.double().numpy(), 1.0)))


@dataclass(frozen=True)
class BlockFusion:
    """The reconstruction of a block of `size` (H, W) from pieces of frames, and from the single image's result.

    Attributes
    ----------
    pieces
        Of all frames.
    single
        What a single image gives, (C, H, W).
    degradation
        That of the frames, at the scale.
    sigma
        The noise of the frames, in [0, 1].
    """

    pieces: Sequence[Piece]
    single: Tensor
    degradation: Degradation
    sigma: float

    @property
    def size(self) -> tuple[int, int]:
        """The size (H, W)."""
        return self.single.shape[-2], self.single.shape[-1]

    @cached_property
    def sampling(self) -> ScatteredSampling:
        """What the frames see of the block."""
        positions = np.concatenate([piece.positions.reshape(2, -1) for piece in self.pieces], 1)
        return self.degradation.operator_at(self.size, positions)

    def make_term(self, weights: Tensor) -> DataTerm:
        """Return the data term of all frames with weights (n,), and of the single image where these say little."""
        samples = torch.cat([piece.samples.flatten(1) for piece in self.pieces], 1)
        operator = Stacked([self.sampling, Identity(self.size)], [samples.shape[1], self.single[0].numel()])
        trusted = torch.cat([weights, self.measure_pull(weights).flatten()])
        return DataTerm(torch.cat([samples, self.single.flatten(1)], 1)[None], operator, self.sigma, trusted)

    def measure_pull(self, weights: Tensor) -> Tensor:
        """Return how much the single image is needed (H, W): where there is little but the reference."""
        scale = self.degradation.scale
        coverage = scale[0] * scale[1] * self.sampling.measure_density(weights, max(scale) / 2)
        return torch.from_numpy(_PULL * np.clip((3 - coverage) / 2, 0, 1).astype(np.float32))

    def reweigh(self, _: DataTerm, large: Tensor) -> DataTerm:
        """Return the term without what the reached image (1, C, H, W) does not explain."""
        return self.make_term(torch.cat([weights.flatten() for weights in self.judge(large)]))

    def judge(self, large: Tensor) -> Iterator[Tensor]:
        """Yield the weights (h, w) of each piece, by Tukey's function of what it differs from the reached image."""
        seen = torch.split(self.sampling(large)[0], [piece.weights.numel() for piece in self.pieces], 1)
        off = [piece.compare(values) for piece, values in zip(self.pieces, seen, strict=True)]
        usual = np.median(np.concatenate([one.ravel() for one in off]))
        scale = _OUTLIER * max(float(usual), self.sigma, 2 * ROUNDING)
        for piece, one in zip(self.pieces, off, strict=True):
            trusted = np.ones_like(one) if piece.is_reference else weigh_tukey(one, scale)
            yield piece.weights * torch.from_numpy(trusted).float()

    def reconstruct(self, method: Reconstruction) -> Tensor:
        """Return the block (C, H, W)."""
        large = self.single[None]
        term = self.make_term(torch.cat([piece.weights.flatten() for piece in self.pieces]))
        if method == "map":
            return minimize_posterior(large, term, _PRIOR, self.reweigh)[0].clamp(0, 1)
        large = descend(large, term, 10) if method == "ibp" else project_in_turn(large, term, 10)
        term = self.reweigh(term, large)
        return (descend(large, term, 50) if method == "ibp" else project_in_turn(large, term, 50))[0].clamp(0, 1)


def fuse(
    frames: Sequence[AlignedFrame],
    single: Tensor,
    degradation: Degradation,
    sigma: float,
    method: Reconstruction,
    notify: Callable[[int, int], None] = lambda done, total: None,
) -> Tensor:
    """Reconstruct the large image (C, H, W) from aligned frames, block by block.

    Parameters
    ----------
    frames
        Those that are used; the reference is among them.
    single
        What the reference alone gives (C, H, W): the start, and what is taken where the frames say nothing.
    degradation
        That of the frames, at the scale.
    sigma
        Standard deviation of their noise, in [0, 1].
    notify
        Called with (done, total) after each block.
    """
    (size,) = {(frame.weights.shape[0], frame.weights.shape[1]) for frame in frames if frame.registration is None}
    whole, large = Region.whole(size), torch.empty_like(single)
    blocks, large_size = list(whole.split(_BLOCK)), (single.shape[-2], single.shape[-1])
    for done, block in enumerate(blocks):
        outer = block.expand(_MARGIN).scaled(degradation.scale, large_size)
        inner = block.scaled(degradation.scale, large_size)
        pieces = [piece for frame in frames if (piece := cut(frame, outer, degradation)) is not None]
        start = single[:, outer.rows.start : outer.rows.stop, outer.columns.start : outer.columns.stop]
        fused = BlockFusion(pieces, start.contiguous(), degradation, sigma).reconstruct(method)
        rows, columns = inner.slices_within(outer)
        large[:, inner.rows.start : inner.rows.stop, inner.columns.start : inner.columns.stop] = fused[:, rows, columns]
        notify(done + 1, len(blocks))
    return large


def cut(frame: AlignedFrame, block: Region, degradation: Degradation) -> Piece | None:
    """Cut out of a frame the rectangle that lies in a block of the large image; None if nothing does."""
    origin = np.array([block.rows.start, block.columns.start])
    ends = np.array([block.rows.stop, block.columns.stop])
    rows, columns = frame.find_rectangle(origin / degradation.scale, ends / degradation.scale)
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return None
    is_top_left = degradation.sampling == "top_left"
    positions = to_large(frame.positions(rows, columns), degradation.scale, top_left=is_top_left)
    positions = positions - origin[:, None, None]
    inside = is_inside(positions, block.size)
    weights = frame.weights[rows, columns] * torch.from_numpy(inside)
    return Piece(frame.samples[:, rows, columns], weights, positions, frame.registration is None)
