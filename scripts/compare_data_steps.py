"""Error in float32 and time of the closed-form data step, for both forms of the same solution.

    python scripts/compare_data_steps.py

Error: largest difference from the float64 solution over two kernels, from x = nearest neighbour interpolation of y, on
a 240x240 part of a photograph and on random y. Time: median of 15 solutions at 768x768, forms in turn, loop-invariant
parts prepared before.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import unfold.util.as_program  # isort: skip  # noqa: F401

import torch
import torch.nn.functional as F
from torch import Tensor

from unfold.data.images import find_images, read_image, to_float
from unfold.data.patches import to_tensor
from unfold.physics.blur import blur, decimate
from unfold.steps.closed_form import prepare

Step = Callable[[Tensor], Tensor]


def published(y: Tensor, kernel: Tensor, scale: int, alpha: Tensor) -> Step:
    """The published form on full complex spectra: (R - conj(K) tile(fold(K R) / (fold(|K|^2) + alpha))) / alpha."""
    height, width = (n * scale for n in y.shape[-2:])
    kh, kw = kernel.shape[-2:]
    padded = torch.zeros(1, 1, height, width, dtype=y.dtype)
    padded[..., :kh, :kw] = kernel
    otf = torch.fft.fft2(padded.roll((-(kh // 2), -(kw // 2)), (-2, -1)))
    upsampled = torch.zeros(*y.shape[:2], height, width, dtype=y.dtype)
    upsampled[..., ::scale, ::scale] = y
    back = otf.conj() * torch.fft.fft2(upsampled)

    def fold(spectrum: Tensor) -> Tensor:
        shape = (*spectrum.shape[:2], scale, height // scale, scale, width // scale)
        return spectrum.reshape(shape).mean(dim=(2, 4))

    power = fold(otf.abs() ** 2)

    def solve(x: Tensor) -> Tensor:
        r = back + torch.fft.fft2(alpha * x)
        inner = (fold(otf * r) / (power + alpha)).repeat(1, 1, scale, scale)
        return torch.fft.ifft2((r - otf.conj() * inner) / alpha).real

    return solve


def ours(y: Tensor, kernel: Tensor, scale: int, alpha: Tensor) -> Step:
    """The form of unfold.steps.closed_form."""
    step = prepare(kernel, (y.shape[-2] * scale, y.shape[-1] * scale), scale)
    spectrum = step.spectrum(y)
    return lambda x: step.solve(x, spectrum, alpha)


def kernels() -> list[Tensor]:
    """An isotropic Gaussian of width 1.6 and a diagonal motion, 25x25, of sum 1, float64."""
    axis = torch.arange(-12.0, 13, dtype=torch.float64)
    gauss = torch.exp(-(axis[:, None] ** 2 + axis**2) / (2 * 1.6**2))
    motion = F.pad(torch.eye(9, dtype=torch.float64) + torch.eye(9, dtype=torch.float64).roll(1, 1), (8, 8, 8, 8))
    return [(k / k.sum())[None, None] for k in (gauss, motion)]


def error(form: Callable[..., Step], y: Tensor, kernel: Tensor, scale: int, alpha: float) -> float:
    def solve(dtype: torch.dtype) -> Tensor:
        x = F.interpolate(y, scale_factor=scale, mode="nearest")
        level = torch.tensor(alpha, dtype=dtype)
        return (form if dtype == torch.float32 else ours)(y.to(dtype), kernel.to(dtype), scale, level)(x.to(dtype))

    return float((solve(torch.float32) - solve(torch.float64)).abs().max())


def main() -> None:
    torch.manual_seed(0)
    forms = {"published": published, "here": ours}
    photograph = to_tensor(to_float(read_image(find_images("photographs", "test")[0])))[
        None, :, 60:300, 60:300
    ].double()
    print(f"{'':12}{'scale':>6}{'alpha':>8}" + "".join(f"{name:>12}" for name in forms))
    for content in ("photograph", "noise"):
        for scale in (1, 2, 3, 4):
            for alpha in (3e-6, 1e-2):
                worst = dict.fromkeys(forms, 0.0)
                for kernel in kernels():
                    noise = torch.rand(1, 3, 240 // scale, 240 // scale, dtype=torch.float64)
                    y = noise if content == "noise" else decimate(blur(photograph, kernel, "circular"), scale)
                    for name, form in forms.items():
                        worst[name] = max(worst[name], error(form, y, kernel, scale, alpha))
                print(f"{content:12}{scale:>6}{alpha:>8.0e}" + "".join(f"{value:>12.1e}" for value in worst.values()))
    for scale in (1, 2, 3, 4):
        x, y = torch.rand(1, 3, 768, 768), torch.rand(1, 3, 768 // scale, 768 // scale)
        steps = [form(y, kernels()[0].float(), scale, torch.tensor(1e-3)) for form in forms.values()]
        times: list[list[float]] = [[] for _ in steps]
        for _ in range(15):
            for step, spent in zip(steps, times, strict=True):
                start = time.perf_counter()
                step(x)
                spent.append(1e3 * (time.perf_counter() - start))
        print(f"{'time, ms':12}{scale:>6}{'':8}" + "".join(f"{statistics.median(spent):>12.1f}" for spent in times))


if __name__ == "__main__":
    main()
