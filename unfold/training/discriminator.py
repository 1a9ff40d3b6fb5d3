"""VGG-style discriminator for 96x96 patches, for adversarial training."""

from __future__ import annotations

from torch import Tensor, nn

from unfold.losses.adversarial import JUDGED


class Discriminator(nn.Module):
    """patches (B,3,96,96) in [0,1] -> (B,1), unbounded scores: higher means more realistic.

    Ten convolutions in the style of VGG, five of which halve the side, and two linear layers; names, shapes and
    constants are those of KAIR's discriminator_vgg_96 (github.com/cszn/KAIR). USRGAN's own discriminator is not
    published. It normalises by the statistics of the batch, so keep it in training mode.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            *_halving(width),
            *_keeping(width, 2 * width),
            *_halving(2 * width),
            *_keeping(2 * width, 4 * width),
            *_halving(4 * width),
            *_keeping(4 * width, 8 * width),
            *_halving(8 * width),
            *_keeping(8 * width, 8 * width),
            *_halving(8 * width),
        )
        self.classifier = nn.Sequential(
            nn.Linear(8 * width * (JUDGED // 32) ** 2, 100), nn.LeakyReLU(0.2, inplace=True), nn.Linear(100, 1)
        )

    def start_as_kair(self) -> None:
        """Fill the weights as KAIR's trainers do."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.orthogonal_(module.weight, gain=0.2)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.1, 1.0)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


def _keeping(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 3, padding=1), *_normalised(after)


def _halving(width: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(width, width, 4, stride=2, padding=1), *_normalised(width)


def _normalised(width: int) -> tuple[nn.Module, ...]:
    return nn.BatchNorm2d(width, eps=1e-4, momentum=0.9), nn.LeakyReLU(0.2, inplace=True)
