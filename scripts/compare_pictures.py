"""The input, some methods and the reference side by side, as a contact sheet: a row for each case of a protocol.

    UNFOLD_DATA=... python scripts/compare_pictures.py sheet.png --protocol levin09 --data Levin09 --cases "im1_*"
        --methods identity wiener usrnet_tiny

A method is a baseline, or a network's weights (a file or a published name). The middle of large pictures is shown.
"""

from __future__ import annotations

import argparse
import fnmatch
from pathlib import Path

import unfold.util.as_program  # isort: skip  # noqa: F401

import numpy as np
import torch

from unfold.errors import UnfoldError
from unfold.evaluation.methods import BASELINES, baseline
from unfold.evaluation.run_protocol import evaluate
from unfold.models.run_on_arrays import Image, Method, network
from unfold.protocols.by_name import parse_protocol
from unfold.protocols.protocol import Protocol
from unfold.report.contact_sheet import draw_sheet
from unfold.util.atomic_files import whole_file
from unfold.weights.load_model import load_named

SIDE = 256


def method_called(name: str, protocol: Protocol) -> Method:
    if name in BASELINES:
        return baseline(name, protocol)
    _, _, net = load_named(name, None)
    return network(net, torch.device("cpu"))


def middle(image: Image) -> Image:
    pixels = image / 255 if image.dtype == np.uint8 else image
    top, left = (max(0, (n - SIDE) // 2) for n in image.shape[:2])
    return pixels[top : top + SIDE, left : left + SIDE].astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--protocol", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--cases", default="*", help="pattern of the cases' names")
    parser.add_argument("--methods", nargs="+", required=True)
    args = parser.parse_args()
    try:
        protocol = parse_protocol(args.protocol)
        cases = [case for case in protocol.cases(args.data) if fnmatch.fnmatch(case.name, args.cases)]
        if not cases:
            raise UnfoldError(f"no case of {args.data} is called {args.cases}")
        columns = []
        for name in args.methods:
            results = evaluate(protocol, method_called(name, protocol), cases)
            columns.append([(f"{Path(name).stem} {r.scores['psnr']:.2f} dB", middle(r.image)) for r in results])
        targets = [protocol.sample(case).target for case in cases]
        columns.append([(c.name, middle(t)) for c, t in zip(cases, targets, strict=True) if t is not None])
        panels = [panel for row in zip(*columns, strict=True) for panel in row]
        with whole_file(args.sheet) as file:
            draw_sheet(panels, SIDE, len(columns)).save(file, format="PNG")
    except (UnfoldError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
