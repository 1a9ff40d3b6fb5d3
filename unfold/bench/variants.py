"""Ways to run a network, for comparison with the plain one."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from unfold.inference.restore import restore
from unfold.inference.tile_size import smallest_tile
from unfold.losses.loss import Term, TotalLoss
from unfold.losses.pixel import Charbonnier
from unfold.models.unfolding import UnfoldingNetwork
from unfold.training.train_step import Update
from unfold.util.arrays import Named
from unfold.util.device import place

Mode = Literal["infer", "train", "data"]


@dataclass(frozen=True)
class Way:
    """How a network is run: the memory layout of images and weights, precision, and changes to its parts."""

    name: str
    channels_last: bool = True
    bf16: bool = False
    tf32: bool = False  # CUDA: in convolutions and matrix products
    compiled: bool = False  # the learned modules, by torch.compile
    tiled: bool = False  # in tiles of half the side, which overlap: more than four
    checkpointed: bool = False  # stages computed again in the backward pass


PLAIN = Way("plain", channels_last=False)
_SHARED = (PLAIN, Way("channels_last"), Way("compiled", compiled=True), Way("bf16", bf16=True))
WAYS: dict[str, tuple[Way, ...]] = {
    "infer": (*_SHARED, Way("bf16 compiled", bf16=True, compiled=True), Way("tiled", tiled=True)),
    "train": (*_SHARED, Way("checkpointed", checkpointed=True), Way("bf16 checkpointed", bf16=True, checkpointed=True)),
}
TF32 = Way("tf32", tf32=True)


def ways_of(mode: Mode, device: torch.device) -> list[Way]:
    """The ways of a mode, the plain one first."""
    ways = list(WAYS[mode])
    return [*ways[:2], TF32, *ways[2:]] if device.type == "cuda" else ways


@contextlib.contextmanager
def computed(way: Way, device: torch.device) -> Iterator[None]:
    """Inside, TF32 is set by the way, and bfloat16 is autocast."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = way.tf32
    try:
        with torch.autocast(device.type, torch.bfloat16, enabled=way.bf16):
            yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def random_inputs(net: UnfoldingNetwork, batch: int, height: int, width: int, device: torch.device) -> Named:
    """Inputs of the network: random images, flat kernels, no noise, scale 1."""
    given = net.example(height, width, batch)
    for name, one in net.inputs.items():
        if one.kind == "kernel":
            given[name] = torch.full_like(given[name], 1 / given[name][0].numel(), device=device)
        elif one.kind == "image":
            given[name] = torch.rand(given[name].shape, device=device)
    return given


def least_side(net: UnfoldingNetwork) -> int:
    """Smallest side of an image for the network, at least that of the kernel in :func:`random_inputs`."""
    return max(net.min_size, *(25 for one in net.inputs.values() if one.kind == "kernel"), 1)


def prepared(net: UnfoldingNetwork, way: Way, device: torch.device) -> UnfoldingNetwork:
    """A copy of the network on the device, prepared for the way."""
    twin = copy.deepcopy(net)
    twin = place(twin, device) if way.channels_last else twin.to(device)
    twin.checkpoint_stages = way.checkpointed
    if way.compiled:
        for child in twin.children():
            if any(isinstance(module, nn.Conv2d) for module in child.modules()):
                child.compile()
    return twin


def forward(net: UnfoldingNetwork, way: Way, given: Named) -> Callable[[], Tensor]:
    """A function that restores once, without gradients."""
    image = given[net.picture]
    net.train()  # training mode: a fixed number of stages for NRL-GDN
    if way.tiled:
        return _in_tiles(net, way, given)

    def run() -> Tensor:
        with torch.no_grad(), computed(way, image.device):
            return net(**given)

    return run


def _in_tiles(net: UnfoldingNetwork, way: Way, given: Named) -> Callable[[], Tensor]:
    y = given[net.picture]
    array = y[0].movedim(0, -1).cpu().numpy()
    others: Named = {
        key: value[0].movedim(0, -1).cpu().numpy() if net.inputs[key].kind == "image" else value
        for key, value in given.items()
        if key != net.picture
    }
    others = {key: value[0, 0].cpu().numpy() if isinstance(value, Tensor) else value for key, value in others.items()}
    side = -(-max(y.shape[-2:]) // 2)

    def run() -> Tensor:
        with computed(way, y.device):
            result = restore(array, net, tile=side, **others)
        return torch.from_numpy(result).movedim(-1, 0)[None]

    return run


def training_step(net: UnfoldingNetwork, way: Way, given: Named) -> Callable[[], Tensor]:
    """A function that takes one step: Charbonnier loss of all stages, Adam."""
    image = given[net.picture]
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-4, fused=True)
    update = Update(net.train(), net, TotalLoss([Term(Charbonnier(), every_stage=True)]), optimizer, autocast=way.bf16)
    target = torch.rand_like(image)

    def run() -> Tensor:
        with computed(Way(way.name, tf32=way.tf32), image.device):
            return update({"target": target, **given})

    return run


def why_not(way: Way, net: UnfoldingNetwork, given: Named) -> str:
    """Why a network cannot be run in this way; "" if it can."""
    if way.tiled and net.not_for_pictures:
        return "measurements of blocks are restored as a whole"
    if way.tiled and len(given[net.picture]) > 1:
        return "tiles are for one picture: --batch 1"
    if way.tiled and min(given[net.picture].shape[-2:]) < 2 * (least := smallest_tile(net.size_multiple)):
        return f"too small for tiles of {least} pixels"
    return ""
