"""The device of a network: the CPU, a CUDA GPU, or any other accelerator that torch has.

Nothing here was ever run on an accelerator other than CUDA: those are tested with stand-ins.
"""

from __future__ import annotations

import functools
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from unfold.errors import UnfoldError
from unfold.util.log_once import say_once

Net = TypeVar("Net", bound=nn.Module)
Ability = Literal["fft", "float64", "bfloat16"]
WHOLE = ("cpu", "cuda", "meta")  # kinds of devices with all abilities
INSTEAD = {
    "fft": "Fourier transforms run on the CPU",
    "float64": "what is computed in float64 runs on the CPU",
    "bfloat16": "float32 is used in its place",
}


def pick_device(name: str | torch.device) -> torch.device:
    """The device of that name; UnfoldError where it is not available.

    name: cpu, cuda, cuda:1, or another accelerator by torch's name, such as mps or xpu. "auto" is CUDA where there is
    one, else the accelerator that torch finds, else the CPU.
    """
    name = str(name)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else _accelerator() or "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type == "meta":
        raise UnfoldError(
            f"the device {name} cannot be used here: a device is auto, cpu, cuda, cuda:NUMBER, or torch's name of "
            "another accelerator, such as mps or xpu"
        )
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, AttributeError, ImportError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].split(". ")[0]
        raise UnfoldError(f"the device {name} cannot be used here ({reason}); try auto or cpu") from None
    return device


def _accelerator() -> str | None:
    """The kind of accelerator that torch supports and finds here; None without one."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return None if found is None else found.type


def count(device: torch.device) -> int:
    """The number of devices of this kind."""
    if device.type == "cuda":
        return torch.cuda.device_count()
    return torch.accelerator.device_count() if device.type == _accelerator() else 1


def devices_for(device: str, jobs: int | None) -> list[str]:
    """The device of each process. jobs: how many; None: one, or one for each GPU. UnfoldError for fewer than one."""
    if jobs is not None and jobs < 1:
        raise UnfoldError(f"--jobs is a number of processes, 1 or more, not {jobs}")
    where = pick_device(device)
    several = where.type != "cpu" and where.index is None and (where.type == "cuda" or count(where) > 1)
    names = [f"{where.type}:{i}" for i in range(count(where))] if several else [str(where)]
    return [names[i % len(names)] for i in range(jobs or len(names))]


def wait_for(device: torch.device) -> None:
    """Wait until all work on the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type not in WHOLE:
        torch.accelerator.synchronize(device)


def release_memory(device: torch.device) -> None:
    """Release torch's unused memory on the device."""
    if device.type not in ("cpu", "meta") and (empty := getattr(_module(device), "empty_cache", None)) is not None:
        empty()


def free_memory(device: torch.device) -> int | None:
    """Free bytes on the device, including torch's unused cache; None if the device does not report them."""
    kind = _module(device)
    if device.type == "cpu" or not hasattr(kind, "mem_get_info"):
        return None
    free: int = kind.mem_get_info(device)[0]
    return free + kind.memory_reserved(device) - kind.memory_allocated(device)


def _module(device: torch.device) -> Any:
    """torch.cuda, torch.mps, ..."""
    return getattr(torch, device.type, None)


def can(device: torch.device, ability: Ability) -> bool:
    """Whether the device has Fourier transforms, float64, or bfloat16 by autocast; if not, this is logged once."""
    if device.type in WHOLE or _tried(device.type, ability):
        return True
    say_once(f"note: {device.type} has no {ability}: {INSTEAD[ability]}")
    return False


@functools.cache
def _tried(kind: str, ability: Ability) -> bool:
    try:
        if ability == "bfloat16":
            if not torch.amp.is_autocast_available(kind):
                return False
            with torch.autocast(kind, torch.bfloat16):
                one = torch.ones(1, 1, 4, 4, device=kind)
                return bool(torch.nn.functional.conv2d(one, one).isfinite().all())
        one = torch.ones(4, 4, device=kind, dtype=torch.float64 if ability == "float64" else torch.float32)
        if ability == "fft":
            one = torch.fft.irfft2(torch.fft.rfft2(one) * torch.fft.rfft2(one).conj(), s=(4, 4))
        return bool(one.sum().isfinite())
    except (RuntimeError, TypeError, NotImplementedError):
        return False


def doubled(x: Tensor) -> Tensor:
    """x in float64, on its device, or on the CPU where the device has no float64."""
    return x.double() if can(x.device, "float64") else x.cpu().double()


def for_fourier(x: Tensor) -> Tensor:
    """x, moved to the CPU where its device has no Fourier transforms."""
    return x if can(x.device, "fft") else x.cpu()


def device_of(net: nn.Module) -> torch.device:
    """The device of a network; the CPU for one without parameters."""
    one = next(iter([*net.parameters(), *net.buffers()]), None)
    return torch.device("cpu") if one is None else one.device


def place(net: Net, device: torch.device) -> Net:
    """Move the network to the device in the channels_last layout: the same results, faster.

    1.33 to 1.53 times as fast on two CPU cores: docs/performance.md.
    """
    if any(type(parameter).__name__ == "FakeTensor" for parameter in net.parameters()):
        return net  # on the meta device, for counting: nothing to move
    return net.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
