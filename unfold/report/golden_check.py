"""`unfold check --golden DIR`: the networks against numbers of the published code.

Every file has inputs and outputs of the published code with weights made by a rule (models/golden/golden_rules.py; the
comparisons of each network are in the same folder). Files in the folder are checked, missing ones are listed.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from unfold.errors import UnfoldError
from unfold.metrics import psnr
from unfold.models.golden import dgunet_golden, nrl_gdn_golden, usrnet_golden
from unfold.models.golden.golden_rules import TOLERANCE, Golden, Networks, Outcome, Parts
from unfold.report.models_list import count_parameters
from unfold.util.progress import progress
from unfold.util.value_checks import unchecked

NETWORKS: Networks = {**dgunet_golden.NETWORKS, **usrnet_golden.NETWORKS, **nrl_gdn_golden.NETWORKS}
PARTS: Parts = {**usrnet_golden.PARTS, **nrl_gdn_golden.PARTS}


class Check(NamedTuple):
    """One golden file: the model (None for a part of one), what was compared, and the maximum difference.

    bfloat16: PSNR in dB of the result under bfloat16 autocast against the float32 result, where a whole network ran.
    """

    file: str
    model: str | None
    parameters: int
    compared: str
    difference: float
    tolerance: float = TOLERANCE
    bfloat16: float | None = None

    @property
    def passed(self) -> bool:
        return self.difference <= self.tolerance


def under_autocast(found: Outcome) -> float:
    """PSNR in dB, for a peak of 1, of the bfloat16 autocast result against the float32 result."""
    assert found.inputs is not None
    assert found.result is not None
    with torch.autocast("cpu", torch.bfloat16):
        half = found.net(**found.inputs)
    with unchecked():  # neither is an image: the weights are made by a rule
        return float(psnr(half, found.result).mean())


@torch.inference_mode()
def checks(folder: Path) -> Iterator[Check | str]:
    """A Check per comparison, or the name of a missing file. UnfoldError if all are missing."""
    names = [*NETWORKS, *PARTS]
    if not any((folder / f"{name}.npz").is_file() for name in names):
        raise UnfoldError(f"{folder} holds none of the golden files ({names[0]}.npz and others)")
    for name in progress(names, "checking", "file"):
        path = folder / f"{name}.npz"
        if not path.is_file():
            yield name
            continue
        try:
            with np.load(path) as content:
                golden = dict(content)
            yield from _check(name, golden)
        except KeyError as error:
            raise UnfoldError(f"{path} is another file than its name says: {error}") from None
        except (OSError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise UnfoldError(f"{path} cannot be read: {error}") from None


def _check(name: str, golden: Golden) -> Iterator[Check]:
    if name in NETWORKS:
        model, compare = NETWORKS[name]
        found = compare(model, golden)
        half = None if found.inputs is None else under_autocast(found)
        yield Check(name, model, count_parameters(found.net), found.compared, found.difference, bfloat16=half)
    else:
        for compared, part, tolerance in PARTS[name]:
            yield Check(name, None, 0, compared, part(golden), tolerance)


def format_checks(results: list[Check | str]) -> str:
    """The table; missing files come last, by name."""
    lines = [f"{'golden':<38}{'model':<21}{'parameters':>12}  {'max |difference|':>16}{'bf16, dB':>10}  compared"]
    for result in results:
        if isinstance(result, Check):
            model, parameters = result.model or "-", f"{result.parameters:,}" if result.parameters else "-"
            verdict = "" if result.passed else f"   MORE THAN {result.tolerance:.0e}"
            half = "-" if result.bfloat16 is None else f"{result.bfloat16:.1f}"
            figures = f"{parameters:>12}  {result.difference:>16.1e}{half:>10}"
            lines.append(f"{result.file:<38}{model:<21}{figures}  {result.compared}{verdict}")
    missing = [result for result in results if isinstance(result, str)]
    if missing:
        lines.append(f"not in this folder, not checked: {', '.join(missing)}")
    return "\n".join(lines)
