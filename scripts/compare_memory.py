"""Peak memory of a DGUNet's forward, and of the published order of computation, which keeps more tensors alive.

    python scripts/compare_memory.py [NETWORK] [--size H W]      (dgunet_deblur, 360 640)

The published forward is one function whose variables live until it returns or they are reassigned: all outputs, and the
features of the first stage and of the stage before. Both run our modules, with fresh weights. What is counted are the
bytes of living tensors beside weights and input: on the CPU by following every operation, on CUDA by the allocator.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import unfold.util.as_program  # isort: skip  # noqa: F401

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.gpu.setting import peak_memory
from unfold import create_model, list_models
from unfold.models.dgunet import Family
from unfold.util.device import pick_device, place
from unfold.util.precision import apply_in_full_precision


def published_order(net: Family, y: Tensor) -> list[Tensor]:
    """The outputs of all stages, last first, with everything alive that the published function holds."""
    y, context = net.begin(y)
    s = net.modules_of(0)
    v1 = net.data_step(s, y, context)
    f1 = s.shallow(v1)
    assert s.unet is not None
    encoded1 = s.unet.encoder(f1)
    decoded1 = s.unet.decoder(encoded1)
    features1, x1 = s.unet.output(decoded1[-1], v1)
    outputs, x, features, encoded, decoded = [x1], x1, features1, encoded1, decoded1
    for k in range(1, net.stages - 1):
        s = net.modules_of(k)
        assert s.unet is not None
        assert s.merge is not None
        v = net.data_step(s, x, context)
        f = s.shallow(v)
        merged = s.merge(f, features)
        encoded = s.unet.encoder(merged, encoded, decoded)
        decoded = s.unet.decoder(encoded)
        features, x = s.unet.output(decoded[-1], v)
        outputs.append(x)
    s = net.modules_of(net.stages - 1)
    assert s.merge is not None
    v = net.data_step(s, x, context)
    f = s.shallow(v)
    merged = s.merge(f, features)
    outputs.append(net.last_base(v, context) + apply_in_full_precision(net.tail, merged))
    return [net.finish(output, context) for output in outputs[::-1]]


def main() -> int:
    names = [name for name in list_models() if name.startswith("dgunet") and not name.endswith("_cs")]
    parser = argparse.ArgumentParser(prog="scripts/compare_memory.py", description="Peak memory of a DGUNet's forward.")
    parser.add_argument("network", nargs="?", default="dgunet_deblur", choices=names)
    parser.add_argument("--size", type=int, nargs=2, default=(360, 640), metavar=("H", "W"), help="360 640")
    name, (height, width) = vars(parser.parse_args()).values()
    device = pick_device("auto")
    torch.manual_seed(0)
    net = place(create_model(name).eval(), device)
    assert isinstance(net, Family)
    y = torch.rand(1, 3, height, width, device=device)
    with torch.no_grad():
        ours, theirs = (peak_memory(run, device) / 2**20 for run in (lambda: net(y), lambda: published_order(net, y)))
        difference = (net(y) - published_order(net, y)[0]).abs().max().item()
    print(
        f"{name}, {width}x{height}: {ours:.0f} MiB, in the published order {theirs:.0f} MiB: {ours / theirs:.2f} of it"
    )
    print(f"largest difference of the results: {difference:.1e}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
