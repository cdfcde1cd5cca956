"""VESPCN: a spatial transformer moves frames onto the middle one, and a sub-pixel network takes all of them."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, mse_loss, pad, pixel_shuffle

from zssr.method import Method
from zssr.networks.layers import PublishedNetwork, initialize_weights, make_chain, upsample_cubic
from zssr.networks.sr import Convolution

_WIDTH = 24
_RANGE = (8.0, 2.0)  # of the coarse and the fine flow, in pixels
_MOTION, _SMOOTHNESS = (10.0, 1.0), (1e-5, 1e-6)  # weights of the losses, at first and then
_PRETRAINING = 0.3  # share of the steps that are the first
_EPSILON = 0.01
_REACH = 40  # of the flow networks, and of the flow itself, in pixels


class FlowNetwork(nn.Module):
    """Convolutions, some with a stride of 2, whose channels become a flow of the input's size (table 1)."""

    def __init__(self, channels: int, kernel_sizes: list[int], strides: list[int], reach: float) -> None:
        super().__init__()
        self.shrinks = 2 ** strides.count(2)
        widths = [channels, *[_WIDTH] * (len(strides) - 1), 2 * self.shrinks**2]
        self.layers, self.reach = make_chain(widths, kernel_sizes), reach
        for layer, stride in zip(self.layers, strides, strict=True):
            setattr(layer, "stride", (stride, stride))  # noqa: B010

    def forward(self, images: Tensor) -> Tensor:
        """Take (N, C, H, W), of sides that are multiples of 4, to a flow (N, 2, H, W) in pixels (right, down)."""
        *inner, last = self.layers
        for layer in inner:
            images = torch.relu(layer(images))
        return pixel_shuffle(self.reach * torch.tanh(last(images)), self.shrinks)


class SpatialTransformer(nn.Module):
    """Moves a frame onto another: a flow at a quarter of the size, and one at half of it that corrects it."""

    def __init__(self) -> None:
        super().__init__()
        self.coarse = FlowNetwork(2, [5, 3, 5, 3, 3], [2, 1, 2, 1, 1], _RANGE[0])
        self.fine = FlowNetwork(5, [5, 3, 3, 3, 3], [2, 1, 1, 1, 1], _RANGE[1])

    def forward(self, frames: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the frames (N, 1, H, W) moved onto the target, and the flow (N, 2, H, W)."""
        height, width = frames.shape[-2:]
        padding = (0, -width % 4, 0, -height % 4)
        whole, goal = (pad(one, padding, mode="replicate") for one in (frames, target))
        coarse = self.coarse(torch.cat([goal, whole], 1))
        moved = warp(whole, coarse)
        flow = (coarse + self.fine(torch.cat([goal, whole, coarse, moved], 1)))[..., :height, :width]
        return warp(frames, flow), flow


def warp(frames: Tensor, flow: Tensor) -> Tensor:
    """Look frames (N, 1, H, W) up where the flow (N, 2, H, W) points, in pixels (right, down), bilinearly."""
    height, width = frames.shape[-2:]
    grid = flow.float().movedim(1, -1)  # places are computed in fp32
    rows, columns = (torch.arange(side, device=flow.device) for side in (height, width))
    places = grid + torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)
    unit = places / places.new_tensor([max(width - 1, 1), max(height - 1, 1)]) * 2 - 1
    return grid_sample(frames.float(), unit, padding_mode="border", align_corners=True).to(frames.dtype)


class Vespcn(PublishedNetwork):
    """Layers of 24 channels on several frames at once, and a sub-pixel layer (Caballero et al. 2017).

    The frames are the channels of what it takes, and the residual is that of the middle one; the others get none.
    Early fusion takes all frames in the first layer; slow fusion takes two neighbors at a time, layer by layer, with
    the same weights for all. With one frame it is an ESPCN of the same size.
    """

    mean = 0.5

    def __init__(
        self, *, channels: int, factor: int, generator: torch.Generator, frames: int, fusion: str, layers: int
    ) -> None:
        super().__init__(channels, factor, layers + (_REACH if frames > 1 else 0))
        merges = channels - 1 if fusion == "slow" else 0
        self.merging = nn.ModuleList(Convolution(2 * _WIDTH if k else 2, _WIDTH, 3) for k in range(merges))
        count = max(2, layers - merges)
        widths = [_WIDTH if merges else channels, *[_WIDTH] * (count - 1), factor**2]
        self.layers, self.transformer = make_chain(widths, [3] * count), SpatialTransformer()
        flows = (self.transformer.coarse.layers[-1], self.transformer.fine.layers[-1])
        initialize_weights(self, generator, self.layers[-1], *flows)
        if not merges:
            share_filters(self.layers[0])

    def predict(self, image: Tensor) -> Tensor:
        """Return the residual of the middle frame among zeros."""
        return self.place(self.fuse(self.compensate(image)[0]))

    def compensate(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Move all frames (N, T, H, W) onto the middle one; return them with the flows (N, 2, H, W) of the others."""
        frames, flows = list(torch.split(image, 1, 1)), []
        target = frames[len(frames) // 2]
        for k, frame in enumerate(frames):
            if frame is not target:
                frames[k], flow = self.transformer(frame, target)
                flows.append(flow)
        return torch.cat(frames, 1), flows

    def fuse(self, frames: Tensor) -> Tensor:
        """Return the residual (N, 1, factor * H, factor * W) of frames that are moved onto the middle one."""
        groups = list(torch.split(frames, 1, 1))
        for layer in self.merging:
            groups = [torch.relu(layer(torch.cat(pair, 1))) for pair in pairwise(groups)]
        features = groups[0] if self.merging else frames
        *inner, last = self.layers
        for layer in inner:
            features = torch.relu(layer(features))
        return pixel_shuffle(last(features), self.factor)

    def place(self, residual: Tensor) -> Tensor:
        """Return a residual as that of the middle frame, and none for the others."""
        before = self.channels // 2
        return pad(residual, (0, 0, 0, 0, before, self.channels - 1 - before))


@torch.no_grad()
def share_filters(layer: nn.Module) -> None:
    """Let a layer look at all its channels with the same filters: at their mean, which has less noise."""
    weight = layer.get_parameter("weight")
    weight.copy_(weight.sum(1, keepdim=True).expand_as(weight) / weight.shape[1])


def compensate_motion(network: Vespcn, sons: Tensor, residuals: Tensor, share: Tensor) -> Tensor:
    """Return the paper's loss (eq. 7): of the residual, of the moved frames, and of how much flows vary (Huber).

    At first the motion counts in full, as the paper trains the spatial transformer before all else. Frames are moved in
    fathers, too, which are sharper and move as far as those that will be upscaled.
    """
    features = network.to_features(sons)
    frames, flows = network.compensate(features)
    middle = network.channels // 2
    loss = mse_loss(network.fuse(frames).float(), residuals[:, middle : middle + 1])
    if not flows:
        return loss
    fathers = network.to_features(residuals + upsample_cubic(sons, network.factor))
    moved, more = network.compensate(fathers)
    errors = measure_motion_error(frames, middle) + measure_motion_error(moved, middle)
    varies = torch.stack([measure_variation(flow.float()) for flow in (*flows, *more)]).sum()
    motion, smoothness = (torch.where(share < _PRETRAINING, *weights) for weights in (_MOTION, _SMOOTHNESS))
    return loss + motion * errors + smoothness * varies


def measure_motion_error(frames: Tensor, middle: int) -> Tensor:
    """Return the mean squared difference between frames (N, T, H, W) and the middle one, summed over the frames."""
    differences = frames.float() - frames[:, middle : middle + 1].float()
    return differences.square().mean((0, 2, 3)).sum()


def measure_variation(flow: Tensor) -> Tensor:
    """Return the Huber loss of a flow's differences between neighbors, (N, 2, H, W) to a number."""
    down, right = flow.diff(dim=-2)[..., :-1], flow.diff(dim=-1)[..., :-1, :]
    squares: Tensor = (down.square() + right.square()).sum(1)
    return (_EPSILON + squares).sqrt().mean()


METHOD = Method(
    name="vespcn",
    summary="network for videos on several frames, which a spatial transformer moves onto each other",
    paper="Caballero et al. 2017",
    network=Vespcn,
    objective=compensate_motion,
    settings={"lr": 2e-3, "lr_schedule": "cosine", "num_epochs": 1500, "crop_size": 96, "batch_size": 1},
    options={"frames": (3, 5, 1), "fusion": ("early", "slow"), "layers": 5},
    takes_frames=True,
)
