"""Perceptual distance of images by features of VGG19; torchvision is imported only when it is used."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import l1_loss

from zssr.errors import ConfigError


def find_vgg_weights() -> Path:
    """Return the path of torchvision's VGG19 weights; raises `ConfigError` if they are not on this machine."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / "vgg19-dcbb9e9d.pth"
    if not path.is_file():
        fetch = "python -c \"from torchvision.models import vgg19; vgg19(weights='DEFAULT')\""
        raise ConfigError(f'perceptual: "vgg" needs {path}, which is not there; {fetch} fetches it (548 MB)')
    return path


def load_vgg_distance() -> Callable[[Tensor, Tensor], Tensor]:
    """Load a function that measures the distance of images (N, C, H, W) in [0, 1] (Johnson et al. 2016).

    It is the mean absolute difference of VGG19's features after conv3_4.
    """
    from torchvision.models import vgg19  # type: ignore[import-untyped]

    with torch.device("meta"):  # only the layers up to conv3_4 get memory
        features = vgg19(weights=None).features[:18].requires_grad_(False)
    weights = torch.load(find_vgg_weights(), map_location="cpu", weights_only=True, mmap=True)
    features.load_state_dict({key: weights[f"features.{key}"] for key in features.state_dict()}, assign=True)

    imagenet = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def extract(images: Tensor) -> Tensor:
        colors = images.mean(1, keepdim=True).expand(-1, 3, -1, -1) if images.shape[1] != 3 else images
        mean, std = (colors.new_tensor(values)[:, None, None] for values in imagenet)
        result: Tensor = features.to(images.device)((colors - mean) / std)
        return result

    return lambda image, father: l1_loss(extract(image), extract(father))
