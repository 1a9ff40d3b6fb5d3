"""Random kernels for training, a batch at once on a device: what kernels.py and motion.py do one by one.

Every step is a product of matrices, so that a generator of a device determines its kernels there. All is computed in
float64, which costs nothing at this size, and returned in float32.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from unfold.physics.kernels import LARGEST_VARIANCE, LEAST_VARIANCE
from unfold.physics.motion import LARGEST, LEAST_SUM, SIZE, SMALLEST, STEPS, TURN

TRIES = 3  # numbers of bins, of which the first is taken whose cells are visited: one in a thousand is not


def random_kernels(batch: int, motion_share: float, generator: torch.Generator) -> Tensor:
    """Kernels (batch,1,25,25), sum 1, on the generator's device, each a motion kernel with the chance motion_share.

    The others are Gaussians, turned or mirrored in one of 8 ways. USRNet's training has a share of 1/2, NRL-GDN's 0.65.
    """
    motion = _uniform((batch, 1, 1, 1), generator) < motion_share
    gaussian = random_dihedral(random_gaussians(batch, generator), generator)
    return torch.where(motion, random_motion_kernels(batch, generator), gaussian)


def random_gaussians(batch: int, generator: torch.Generator) -> Tensor:
    """(batch,1,25,25), sum 1; see kernels.random_gaussian. The scale whose shift they have is drawn from 1 to 4."""
    variances = LEAST_VARIANCE + (LARGEST_VARIANCE - LEAST_VARIANCE) * _uniform((batch, 2), generator)
    theta = math.pi * _uniform((batch,), generator)
    scale = _integers(1, 4, (batch,), generator)
    return anisotropic_gaussians(variances, theta, (scale - 1) / 2).float()


def anisotropic_gaussians(variances: Tensor, theta: Tensor, shift: Tensor, size: int = SIZE) -> Tensor:
    """(B,1,size,size), sum 1, from variances (B,2), theta (B,), shift (B,); see kernels.anisotropic_gaussian."""
    offsets = torch.arange(size, device=theta.device) - (size // 2 - shift[:, None])
    columns, rows = offsets[:, None, :], offsets[:, :, None]
    cos, sin = torch.cos(theta)[:, None, None], torch.sin(theta)[:, None, None]
    along, across = columns * cos + rows * sin, rows * cos - columns * sin
    first, second = variances[:, :, None, None].unbind(1)
    return _normalised(torch.exp(-0.5 * (along**2 / first + across**2 / second)))[:, None]


def random_dihedral(kernels: Tensor, generator: torch.Generator) -> Tensor:
    """Each square kernel of (B,1,n,n) turned or mirrored in one of 8 ways."""
    flips = _uniform((3, len(kernels), 1, 1, 1), generator) < 0.5
    kernels = torch.where(flips[0], kernels.flip(-2), kernels)
    kernels = torch.where(flips[1], kernels.flip(-1), kernels)
    return torch.where(flips[2], kernels.transpose(-2, -1), kernels)


def random_motion_kernels(batch: int, generator: torch.Generator) -> Tensor:
    """(batch,1,25,25), sum 1; see motion.random_motion_kernel."""
    start = _normal((batch, 3), generator)
    path = camera_paths(start, _normal((batch, STEPS - 1, 2, 3), generator))
    bins, *others = _bins((TRIES, batch), generator)
    for other in others:
        visited = (_visits(path[:, 0], bins).sum(2) * _visits(path[:, 1], bins).sum(2)).sum(1) > 0
        bins = torch.where(visited, bins, other)
    enlarge = _uniform((batch, 1), generator) < 0.25
    sides = torch.where(enlarge, _integers(SIZE, 5 * SIZE, (batch, 2), generator), SIZE)
    sigma = 0.1 + 6 * _uniform((batch,), generator)
    return motion_kernels(path, bins, sides, sigma).float()


def _bins(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    bins = torch.round((SMALLEST - torch.log(_uniform(shape, generator)) / 0.15).clamp(max=LARGEST))
    return bins + 1 - bins % 2


def camera_paths(start: Tensor, forces: Tensor) -> Tensor:
    """Paths (B,3,STEPS) from start (B,3) and forces (B,STEPS-1,2,3); see motion.camera_path."""
    forces = forces / torch.arange(2, STEPS + 1, device=start.device)[:, None, None]
    n, m = forces.permute(2, 0, 3, 1)  # (B,3,STEPS-1) each
    step = torch.arange(STEPS - 1, device=start.device)
    elapsed = (step - step[:, None]).to(start)  # from a force (row) to a position (column)
    total = (elapsed >= 0).to(start)
    angles = n @ (total * TURN * (1 + TURN) ** elapsed.clamp(min=0))
    x, y, z = (start[..., None] + m @ total).unbind(1)
    (cx, cy, cz), (sx, sy, sz) = (part.unbind(1) for part in (torch.cos(angles), torch.sin(angles)))
    y, z = cx * y - sx * z, sx * y + cx * z
    x, z = cy * x + sy * z, cy * z - sy * x
    moves = torch.stack([cz * x - sz * y, sz * x + cz * y, z], dim=1)
    return torch.cat([torch.zeros_like(start)[..., None], moves @ total], dim=-1)


def motion_kernels(path: Tensor, bins: Tensor, sides: Tensor, sigma: Tensor) -> Tensor:
    """Motion kernels (B,1,25,25), sum 1, from what was drawn.

    path (B,2|3,N); bins (B,), odd, up to 27; sides (B,2): height and width to enlarge to, 25 for none; sigma (B,): of
    the Gaussian that stands in where less than 0.1 is left, or where no cell is visited.
    """
    counts = _visits(path[:, 0], bins).transpose(1, 2) @ _visits(path[:, 1], bins)
    window = _smoothing(counts) @ _placing(bins).to(counts)
    kernel = _normalised(window.transpose(1, 2) @ counts @ window)
    kernel = _resizing(sides[:, 0]).to(kernel) @ kernel @ _resizing(sides[:, 1]).to(kernel).transpose(1, 2)
    offsets = torch.arange(SIZE, device=path.device) - SIZE // 2
    profile = torch.exp(-(offsets**2) / (2 * sigma[:, None] ** 2))
    gaussian = profile[:, :, None] * profile[:, None, :]
    return _normalised(torch.where(kernel.sum((1, 2), keepdim=True) < LEAST_SUM, gaussian, kernel))[:, None]


def _visits(x: Tensor, bins: Tensor) -> Tensor:
    """(B,N,LARGEST): 1 where a position of x (B,N) lies in a cell. The edges are NumPy's arange, to the bit."""
    low, high = x.amin(1, keepdim=True), x.amax(1, keepdim=True)
    step = (high - low) / bins[:, None]
    cell = torch.arange(LARGEST + 1, device=x.device)
    edges = low + cell * ((low + step) - low)
    usable = cell[:-1] < torch.ceil((high - low) / step) - 1
    inside = (x[..., None] >= edges[:, None, :-1]) & (x[..., None] < edges[:, None, 1:])
    return (inside & usable[:, None]).to(x)


def _smoothing(like: Tensor) -> Tensor:
    """(LARGEST,LARGEST): a 3-tap Gaussian of standard deviation 1 along one axis."""
    cell = torch.arange(LARGEST, device=like.device)
    distance = (cell - cell[:, None]).to(like)
    weights = torch.exp(-0.5 * distance**2) * (distance.abs() <= 1)
    return weights / (1 + 2 * math.exp(-0.5))


def _placing(bins: Tensor) -> Tensor:
    """(B,LARGEST,SIZE): which cell comes to lie on which pixel. Zeros around fewer cells, the first ones of more."""
    cell, pixel = torch.arange(LARGEST, device=bins.device)[:, None], torch.arange(SIZE, device=bins.device)
    bins = bins[:, None, None]
    return (pixel == cell + torch.div(SIZE - bins, 2, rounding_mode="floor").clamp(min=0)) & (cell < bins)


def _resizing(side: Tensor) -> Tensor:
    """(B,SIZE,SIZE): bilinear weights from SIZE pixels to the middle SIZE of ``side`` (B,) pixels, borders repeated."""
    pixel = torch.arange(SIZE, device=side.device)
    side = side[:, None, None]
    place = pixel[:, None] + torch.div(side - SIZE, 2, rounding_mode="floor")
    source = ((place + 0.5) * SIZE / side - 0.5).clamp(0, SIZE - 1)
    return (1 - (source - pixel).abs()).clamp(min=0)


def _normalised(kernels: Tensor) -> Tensor:
    # A sum of 0 stays: what has it is replaced afterwards.
    total = kernels.sum((-2, -1), keepdim=True)
    return kernels / torch.where(total > 0, total, 1)


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float64)


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device, dtype=torch.float64)


def _integers(low: int, high: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Both ends can be drawn. As float64."""
    return torch.randint(low, high + 1, shape, generator=generator, device=generator.device).double()
