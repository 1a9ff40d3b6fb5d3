"""The perceptual loss: the distance of two pictures in the features of VGG19, trained on ImageNet."""

from __future__ import annotations

import os
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfold.errors import UnfoldError
from unfold.losses.loss import ImageLoss
from unfold.util.download import download, sha256_of
from unfold.util.paths import as_path, cache_folder
from unfold.util.precision import at_least_float32
from unfold.weights.read_checkpoint import read_checkpoint

LAYERS = 35  # up to the sixteenth convolution, conv5_4, without the ReLU that follows
SEEN = 16  # side of the smallest image that VGG19 can process
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's R, G, B


class Perceptual(ImageLoss):
    """Mean |f(x) - f(target)| for VGG19's features f: see :class:`PerceptualDistance`.

    vgg: file of VGG19's weights; "": torchvision's, downloaded (548 MB) where they are not in torch's cache.
    """

    channels = 3

    def __init__(self, vgg: str = "") -> None:
        super().__init__()
        self.vgg = vgg
        self.compare: PerceptualDistance | None = None

    def check_patch(self, patch: int) -> None:
        if patch < SEEN:
            raise UnfoldError(f"must be at least {SEEN} for the loss perceptual, and is {patch}")

    def load(self) -> None:
        self.compare = PerceptualDistance(vgg19_features(self.vgg))

    def load_empty(self) -> None:
        self.compare = PerceptualDistance(vgg19_layers().requires_grad_(False))

    def distance(self, x: Tensor, target: Tensor) -> Tensor:
        assert self.compare is not None, "load() comes first"
        return self.compare(x, target)


class PerceptualDistance(nn.Module):
    """x, target (B,3,H,W) in [0,1], sides of 16 and more -> mean |f(x) - f(target)|, a scalar; at least float32.

    f: VGG19's conv5_4 before its ReLU, of images normalised by ImageNet's mean and deviation (Wang et al., ESRGAN,
    ECCVW 2018). No gradient reaches the target.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: nn.Module) -> None:
        """features: f without the normalisation, from :func:`vgg19_features`."""
        super().__init__()
        self.features = features
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1))

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self._of(target)
        return F.l1_loss(self._of(x), wanted)

    def _of(self, x: Tensor) -> Tensor:
        return self.features((at_least_float32(x) - self.mean) / self.std)


def vgg19_features(file: str = "") -> nn.Module:
    """VGG19 up to LAYERS, frozen.

    file: weights under torchvision's names; only those of the convolutions are used. "": torchvision's own weights for
    ImageNet, from torch's cache or ours, downloaded (548 MB) where they are in neither.
    Raises UnfoldError for a missing file, no connection, or other weights.
    """
    try:
        path = as_path(file) if file else _torchvisions()
        state = read_checkpoint(path).state
    except UnfoldError as error:
        fix = "its option vgg names the file" if file else "or set its option vgg to where the file is"
        raise UnfoldError(f"the loss perceptual needs VGG19's weights: {error}; {fix}") from None
    with torch.device("meta"):  # the whole network has 144 million parameters, most of them not needed here
        features = vgg19_layers()
    own = {name: f"features.{name}" for name in features.state_dict()}
    for name, value in features.state_dict().items():
        if own[name] not in state or state[own[name]].shape != value.shape:
            raise UnfoldError(
                f"the loss perceptual: {path} does not hold torchvision's VGG19: {own[name]} "
                f"{tuple(value.shape)} is not there"
            )
    features.load_state_dict({name: state[key].float() for name, key in own.items()}, assign=True)
    return features.eval().requires_grad_(False)


def vgg19_layers() -> nn.Module:
    """VGG19 up to LAYERS, with fresh weights."""
    from torchvision.models import vgg19

    return vgg19(weights=None).features[:LAYERS]


def _torchvisions() -> Path:
    """The file that torchvision would read, from torch's cache or else from ours. Where neither has it, it is
    downloaded: into ours where UNFOLD_CACHE names one (for machines that share a disk), else where torchvision looks.
    """
    from torchvision.models import VGG19_Weights

    url = VGG19_Weights.IMAGENET1K_V1.url
    theirs = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    ours = cache_folder() / "weights" / theirs.name
    path = ours if ours.is_file() or os.environ.get("UNFOLD_CACHE") else theirs
    path = theirs if theirs.is_file() else path
    digest = sha256_of(path) if path.is_file() else download(url, path, None)
    if not digest.startswith(path.stem.rpartition("-")[2]):  # file names end in the first digits of the digest
        raise UnfoldError(f"{path} is not what {url} should be: its SHA-256 is {digest}; move it away")
    return path
