"""SRGAN: SRResNet, trained further against a discriminator."""

from dataclasses import replace

from zssr.networks import srresnet

METHOD = replace(
    srresnet.METHOD,
    name="srgan",
    summary="srresnet, trained further against a discriminator: sharper, and less exact",
    settings={**srresnet.METHOD.settings, "num_epochs": 240, "adversarial": 1.0, "gan_loss": "bce", "self_ensemble": 1},
    adversarial_rate=1e-4,
)
