"""The distance of images as a network that was trained to tell objects apart sees it; loaded only when used."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import l1_loss

from zssr.errors import ConfigError

_FILE = "vgg19-dcbb9e9d.pth"
_LAYERS = 18  # up to the ReLU after conv3_4
_MEAN, _SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the photos that it was trained on


def find_vgg_weights() -> Path:
    """Return the file of torchvision's VGG19 weights; raises `ConfigError` if it is not on this machine."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / _FILE
    if not path.is_file():
        fetch = "python -c \"from torchvision.models import vgg19; vgg19(weights='DEFAULT')\""
        raise ConfigError(f'perceptual: "vgg" needs {path}, which is not there; {fetch} fetches it (548 MB)')
    return path


def load_vgg_distance() -> Callable[[Tensor, Tensor], Tensor]:
    """Return what measures the distance of images (N, C, H, W) in [0, 1] by VGG19's features (Johnson et al. 2016)."""
    from torchvision.models import vgg19  # type: ignore[import-untyped]

    with torch.device("meta"):  # only the first layers get weights, and memory
        features = vgg19(weights=None).features[:_LAYERS].requires_grad_(False)
    weights = torch.load(find_vgg_weights(), map_location="cpu", weights_only=True, mmap=True)
    features.load_state_dict({key: weights[f"features.{key}"] for key in features.state_dict()}, assign=True)

    def seen(images: Tensor) -> Tensor:
        colors = images.mean(1, keepdim=True).expand(-1, 3, -1, -1) if images.shape[1] != 3 else images
        mean, spread = (colors.new_tensor(values)[:, None, None] for values in (_MEAN, _SPREAD))
        result: Tensor = features.to(images.device)((colors - mean) / spread)
        return result

    return lambda made, father: l1_loss(seen(made), seen(father))
