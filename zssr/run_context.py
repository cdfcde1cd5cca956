"""Set up a run: method, settings, start weights, device."""

from zssr.config import Config
from zssr.method import Method, StartWeights
from zssr.methods import find_method
from zssr.pipeline import RunContext
from zssr.prior.checkpoint import Prior, load_prior
from zssr.prior.network_prior import NetworkPrior
from zssr.progress import Progress
from zssr.request import Request
from zssr.runtime import Runtime, torch_modes
from zssr.training.perceptual import find_vgg_weights


def load_start_weights(config: Config, method: Method) -> StartWeights | None:
    """Read the weights from which a method's networks start; None for random ones. Raises `ConfigError`."""
    with torch_modes("prior"):
        if method.has_prior:
            return load_prior(config)
        asked = config.prior if method.network and config.init == "prior" else None
        return NetworkPrior.read(asked, method) if asked else None


def start_run(
    config: Config, method: Method, prior: StartWeights | None, request: Request, progress: Progress
) -> RunContext:
    """Make the context of a run. Raises `ConfigError` for a device that is not there, and for weights that are not."""
    if config.adversarial and config.perceptual == "vgg":
        find_vgg_weights()  # if they are missing, that is said before any work
    adapted = method.adapt(config)
    if isinstance(prior, Prior):
        adapted = adapted.fill_shape(prior.shape)
    return RunContext(request, method, adapted, prior, Runtime.resolve(request.device, adapted), progress)


def make_context(config: Config, request: Request, progress: Progress) -> RunContext:
    """Make the context of a run that is the only one with its settings. Raises `ConfigError` as `zssr.upscale` does."""
    method = find_method(config.method)
    return start_run(config, method, load_start_weights(config, method), request, progress)
