"""The learned prior of DGUNet: a U-Net with inter-stage pathways between the stages.

Channel widths on the four levels are C_i = width + i * growth, i = 0..3, at scales 1, 1/2, 1/4, 1/8. The encoder's
first features already have C_1 channels at full resolution. Source: DGUNet (Mou, Wang, Zhang, CVPR 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unfold.util.padding import crop_to, pad_to_multiple
from unfold.util.precision import apply_in_full_precision, at_least_float32, full_precision

Pathway = Literal["none", "add", "modulate"]  # how a block uses the previous stage's features
LEVELS = 3  # down-samplings, so sizes must be multiples of 2 ** LEVELS


class Memory(NamedTuple):
    """Stage memory, passed to the next stage: features of the output, the encoder and the decoder."""

    features: Tensor
    encoded: list[Tensor]
    decoded: list[Tensor]


def widths(width: int, growth: int) -> list[int]:
    """Channels of the four levels, fine to coarse."""
    return [width + i * growth for i in range(LEVELS + 1)]


class InstanceNorm(nn.InstanceNorm2d):
    """Instance normalisation that also takes 1x1 maps (an 8x8 image on the coarsest level), where it returns its bias.

    nn.InstanceNorm2d computes the same, but rejects a single value per channel.
    """

    def forward(self, x: Tensor) -> Tensor:
        return torch.instance_norm(
            x, self.weight, self.bias, None, None, True, 0.0, self.eps, torch.backends.cudnn.enabled
        )


class ConvBlock(nn.Module):
    """Two 3x3 convolutions with a 1x1 skip.

    x (B,cin,H,W) -> (B,cout,H,W). With ``normalise`` half of the channels are instance-normalised after the first
    convolution (HIN). With a ``pathway`` the block can take the features of the previous stage's encoder (B,cout,H,W)
    and decoder (B,cin,H,W) which are added to its own, or "modulate" them: scale and shift (inter-stage pathway).
    """

    def __init__(
        self, cin: int, cout: int, *, normalise: bool = False, pathway: Pathway = "none", downsample: bool = False
    ) -> None:
        super().__init__()
        self.identity = nn.Conv2d(cin, cout, 1)
        self.conv_1 = nn.Conv2d(cin, cout, 3, padding=1)
        self.conv_2 = nn.Conv2d(cout, cout, 3, padding=1)
        self.pathway = pathway
        if pathway != "none":
            self.csff_enc = nn.Conv2d(cout, cout, 3, padding=1)
            self.csff_dec = nn.Conv2d(cin, cout, 3, padding=1)
        if pathway == "modulate":
            self.phi = nn.Conv2d(cout, cout, 3, padding=1)
            self.gamma = nn.Conv2d(cout, cout, 3, padding=1)
        self.norm = InstanceNorm(cout // 2, affine=True) if normalise else None
        self.downsample = nn.Conv2d(cout, cout, 4, stride=2, padding=1, bias=False) if downsample else None

    def forward(self, x: Tensor, encoded: Tensor | None = None, decoded: Tensor | None = None) -> Tensor:
        h = self.conv_1(x)
        if self.norm is not None:
            first, second = h.chunk(2, dim=1)
            h = torch.cat([self.norm(first), second], dim=1)
        # In place where the old values are not needed: see docs/performance.md.
        h = F.leaky_relu(self.conv_2(F.leaky_relu(h, 0.2, inplace=True)), 0.2, inplace=True)
        h = self.identity(x).add_(h)
        if encoded is not None and decoded is not None:
            s = self.csff_enc(encoded) + self.csff_dec(decoded)
            if self.pathway == "add":
                return h + s
            s = F.leaky_relu(s, 0.1, inplace=True)
            h = torch.addcmul(h + self.gamma(s), h, torch.sigmoid(self.phi(s)))
        return h


class Encoder(nn.Module):
    """(B,C_0,H,W) -> features at scales 1, 1/2, 1/4 with C_1, C_2, C_3 channels, and C_3 channels at 1/8.

    With a ``pathway`` it can also read the previous stage's encoder and decoder features.
    """

    def __init__(self, width: int, growth: int, pathway: Pathway = "none") -> None:
        super().__init__()
        c = widths(width, growth)
        self.body = nn.ModuleList(
            ConvBlock(c[i], c[i + 1], normalise=True, pathway=pathway, downsample=True) for i in range(LEVELS)
        )
        self.body.append(ConvBlock(c[-1], c[-1], normalise=True))

    def forward(
        self, x: Tensor, encoded: Sequence[Tensor] | None = None, decoded: Sequence[Tensor] | None = None
    ) -> list[Tensor]:
        features = []
        for i in range(LEVELS):
            block: Any = self.body[i]
            # decoded runs coarse to fine, encoded fine to coarse
            h = block(x, encoded[i], decoded[-1 - i]) if encoded is not None and decoded is not None else block(x)
            features.append(h)
            x = block.downsample(h)
        return [*features, self.body[LEVELS](x)]


class UpBlock(nn.Module):
    """Double the resolution (cin -> cout channels), join the skip connection (cout channels), convolve."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(cin, cout, 2, stride=2)
        self.conv_block = ConvBlock(2 * cout, cout)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.conv_block(torch.cat([self.up(x), skip], dim=1))


class Decoder(nn.Module):
    """The encoder's four feature maps -> three, coarse to fine: C_2 at 1/4, C_1 at 1/2, C_0 at full resolution."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        c = widths(width, growth)[::-1]
        self.body = nn.ModuleList(UpBlock(c[i], c[i + 1]) for i in range(LEVELS))
        self.skip_conv = nn.ModuleList(nn.Conv2d(c[i], c[i + 1], 3, padding=1) for i in range(LEVELS))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        *skips, x = features
        decoded = []
        for up, convolve, skip in zip(self.body, self.skip_conv, reversed(skips), strict=True):
            x = up(x, convolve(skip))
            decoded.append(x)
        return decoded


class ChannelAttention(nn.Module):
    """Scale each channel by a gate computed from the mean of all channels over the whole image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_du = nn.Sequential(
            nn.Conv2d(channels, channels // 4, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // 4, channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv_du(x.mean(dim=(2, 3), keepdim=True))


class AttentionBlock(nn.Module):
    """Residual block with channel attention (CAB). ``act`` is an argument because DGUNet shares it between blocks."""

    def __init__(self, channels: int, act: nn.Module) -> None:
        super().__init__()
        self.CA = ChannelAttention(channels)
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            act,
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.CA(self.body(x))


def shallow_features(width: int, act: nn.Module, channels: int = 3) -> nn.Sequential:
    """Image (B,channels,H,W) -> features (B,width,H,W)."""
    return nn.Sequential(nn.Conv2d(channels, width, 3, padding=1, bias=False), AttentionBlock(width, act))


class StageOutput(nn.Module):
    """Features (B,width,H,W) and the stage's first image v -> features for the next stage, and the estimate.

    With ``attention`` the estimate gates the features (the supervised attention of MPRNet, used for compressive
    sensing); without, it does not (used for everything else).
    """

    def __init__(self, width: int, channels: int = 3, *, attention: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 1, bias=False)
        self.conv2 = nn.Conv2d(width, channels, 1, bias=False)
        self.conv3 = nn.Conv2d(channels, width, 1, bias=False) if attention else None

    def forward(self, x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        features = self.conv1(x)
        estimate = apply_in_full_precision(self.conv2, x) + v
        if self.conv3 is not None:
            features = features * torch.sigmoid(self.conv3(estimate))
        return features + x, estimate


class ConcatMerge(nn.Conv2d):
    """Merge two feature maps (B,width,H,W) by one convolution of both -> (B,out,H,W)."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__(2 * width, out, 3, padding=1, bias=False)

    def forward(self, x: Tensor, bridge: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(torch.cat([x, bridge], dim=1))


class SubspaceMerge(nn.Module):
    """Merge the previous stage's features into the current ones, through a subspace learned per image.

    x, bridge (B,width,H,W) -> (B,width,H,W). ``rank`` maps computed from both span a subspace of R^(H W) onto which
    every channel of ``bridge`` is projected orthogonally: b' = V (V^T V)^-1 V^T b, with the columns of V scaled to unit
    L1 norm.
    """

    def __init__(self, width: int, rank: int = 16) -> None:
        super().__init__()
        self.conv_block = nn.Conv2d(2 * width, width, 3, padding=1)
        self.subnet = nn.Conv2d(2 * width, rank, 3, padding=1)

    def forward(self, x: Tensor, bridge: Tensor) -> Tensor:
        projected = self.project(torch.cat([x, bridge], dim=1), bridge)
        return x + self.conv_block(torch.cat([x, projected], dim=1))

    def project(self, features: Tensor, bridge: Tensor) -> Tensor:
        # Entries of the Gram matrix are of order 1 / (H W), and its condition number is at least of order 100. Half
        # precision cannot represent it, and maps computed in bfloat16 are nearly dependent, so the matrix can become
        # singular.
        with full_precision(bridge.device):
            basis = self.subnet(at_least_float32(features)).flatten(2)  # V^T: (B, rank, HW)
            basis = basis / (1e-6 + basis.abs().sum(dim=2, keepdim=True))
            gram = basis @ basis.mT
            products = basis @ at_least_float32(bridge).flatten(2).mT  # (B, rank, width)
            coefficients, _ = torch.linalg.solve_ex(gram + self.ridge(gram), products)
            return (coefficients.mT @ basis).reshape(bridge.shape).to(bridge.dtype)

    @staticmethod
    def ridge(gram: Tensor) -> Tensor:
        """The Gram matrix's rounding error, added to its diagonal: avoids division by zero for flat images and dead
        maps.
        """
        n = gram.shape[-1]
        # A map of unit L1 norm has at least 1 / (H W) on the diagonal: only dead maps are below the clamp.
        scale = gram.diagonal(dim1=-2, dim2=-1).mean(dim=-1)[:, None, None].clamp(min=1e-20)
        return torch.finfo(gram.dtype).eps * scale * torch.eye(n, dtype=gram.dtype, device=gram.device)


class PathwayUNet(nn.Module):
    """The whole prior, for composed networks: z (B,C,H,W), memory of the previous stage -> x, memory.

    Any H, W >= 8, padded by reflection to multiples of 8 and cropped back. Without a memory (the first stage) the merge
    and the pathways are not used, so one instance can serve all stages. width: number of features at full resolution;
    growth: further features on each coarser level; channels: C of the images.
    """

    min_size = size_multiple = 2**LEVELS

    takes_half = False  # the last layer computes in float32

    def __init__(self, width: int = 32, growth: int = 16, channels: int = 3) -> None:
        super().__init__()
        self.shallow = shallow_features(width, nn.PReLU(), channels)
        self.merge = SubspaceMerge(width)
        self.encoder = Encoder(width, growth, "modulate")
        self.decoder = Decoder(width, growth)
        self.output = StageOutput(width, channels)

    def forward(self, z: Tensor, memory: Memory | None = None) -> tuple[Tensor, Memory]:
        height, width = z.shape[-2:]
        z = pad_to_multiple(z, 2**LEVELS)
        f = self.shallow(z)
        if memory is None:
            encoded = self.encoder(f)
        else:
            encoded = self.encoder(self.merge(f, memory.features), memory.encoded, memory.decoded)
        decoded = self.decoder(encoded)
        features, x = self.output(decoded[-1], z)
        return crop_to(x, (height, width)), Memory(features, encoded, decoded)
