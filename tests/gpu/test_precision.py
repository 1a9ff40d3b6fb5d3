"""Every network gives the published numbers on the device in float32, and nearly those in faster precisions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.gpu.published import CASES, TOLERANCE, TOLERANCES, expected, found, published
from tests.gpu.setting import computed_in
from unfold.metrics import psnr
from unfold.util.value_checks import unchecked

QUICK = ("dgunet_cs", "usrnet_tiny_x2")  # on the CPU, to see that the checks work; tests/models has the others
FLOORS = {"tf32": 55.0, "bfloat16": 40.0}  # dB against float32; chosen before any run on a GPU
Record = Callable[[str, object], None]

on_devices = pytest.mark.parametrize(
    ("case", "device"),
    [*((case, "cpu") for case in QUICK), *(pytest.param(case, "cuda", marks=pytest.mark.gpu) for case in CASES)],
    indirect=["device"],
)


@on_devices
def test_every_stage_equals_the_published_code_in_float32(
    case: str, device: torch.device, record_property: Record
) -> None:
    net, given = published(case, device)
    with torch.no_grad():
        ours, theirs = found(case, net, given), expected(case)
    assert ours.keys() == theirs.keys()
    assert all(ours[what].shape == theirs[what].shape for what in theirs)
    differences = {what: float(np.abs(ours[what] - theirs[what]).max()) for what in theirs}
    record_property("largest difference", max(differences.values()))
    tolerance = TOLERANCES.get(case, TOLERANCE)
    assert all(difference <= tolerance for difference in differences.values()), differences


@on_devices
@pytest.mark.parametrize("precision", FLOORS)
def test_faster_precisions_stay_close_to_float32(
    case: str, precision: str, device: torch.device, record_property: Record
) -> None:
    net, given = published(case, device)
    with torch.no_grad():
        exact = net(**given)
        with computed_in(precision, device):
            fast = net(**given)
    assert fast.dtype == torch.float32
    with unchecked():  # weights by a rule make no images
        quality = float(psnr(fast, exact).min())
    record_property("dB against float32", quality)
    assert quality >= FLOORS[precision]
