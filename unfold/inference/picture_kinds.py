"""Accept tensors, PIL images, paths and lists where arrays are restored."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor

from unfold.errors import UnfoldError
from unfold.inference.picture_files import enlarge_alpha, read_picture
from unfold.util.arrays import Array, Named
from unfold.util.paths import as_path
from unfold.util.value_checks import check_dense

logger = logging.getLogger("unfold")

Restore = Callable[[Array, dict[str, Any]], Array]  # an array and the inputs beside it -> the result
EXPANDED = {"1": "L", "P": "RGB", "PA": "RGBA"}  # modes of Pillow whose pixels are not channel values
MODES = ("L", "LA", "RGB", "RGBA", "I;16", "I;16B", "I;16L", "I;16N")


def restore_any(picture: Any, restore: Restore, inputs: Named) -> Any:
    """The result in the form of the picture: see :func:`unfold.inference.restore.restore`."""
    if isinstance(picture, (list, tuple)):
        return [restore_any(one, restore, inputs) for one in picture]
    if isinstance(picture, np.ndarray):
        return restore(picture, inputs)
    if isinstance(picture, Tensor):
        return _tensor(picture, restore, inputs)
    if isinstance(picture, Pillow.Image):
        return _pillow(picture, restore, inputs)
    if isinstance(picture, (str, os.PathLike)):
        read = read_picture(as_path(str(picture)))
        if read.alpha is not None:
            logger.info("note: %s: the array that is made of it holds no alpha channel", picture)
        return restore(read.pixels, inputs)
    raise UnfoldError(
        "a picture is an array, a tensor, a PIL image, a path or a list of them, not of the type "
        f"{type(picture).__name__}"
    )


def as_array(value: Any) -> Any:
    """A tensor as a NumPy array with the same numbers; anything else unchanged. UnfoldError for a tensor without
    numbers, or one that is not dense.
    """
    if not isinstance(value, Tensor):
        return value
    check_dense("what is given to restore", value)
    if value.is_meta:
        raise UnfoldError("a tensor on the device meta has no numbers: give real ones")
    value = value.detach().cpu()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()


def _tensor(picture: Tensor, restore: Restore, inputs: Named) -> Tensor:
    """(H,W), (C,H,W) or (B,C,H,W) -> the same number of axes, type and device."""
    check_dense("the picture", picture)
    if picture.ndim not in (2, 3, 4) or not picture.numel():
        raise UnfoldError(f"a tensor of a picture is (C,H,W) or (B,C,H,W), not {tuple(picture.shape)}")
    if picture.ndim > 2 and picture.shape[-1] in (1, 3) and picture.shape[-3] not in (1, 3):
        turn = "permute(2, 0, 1)" if picture.ndim == 3 else "permute(0, 3, 1, 2)"
        raise UnfoldError(
            f"a tensor of a picture is (C,H,W) or (B,C,H,W), and this one is {tuple(picture.shape)}, channels last: "
            f"give it by .{turn}, or as an array"
        )
    batch = picture if picture.ndim == 4 else picture[None]
    results = []
    for i, one in enumerate(batch):
        array = as_array(one if one.ndim == 2 else one.permute(1, 2, 0))
        own = {key: _of_sample(key, value, i, len(batch)) for key, value in inputs.items()}
        result = torch.from_numpy(restore(array, own))
        results.append(result if one.ndim == 2 else result.permute(2, 0, 1))
    stacked = torch.stack(results).to(picture.device, picture.dtype)
    return stacked if picture.ndim == 4 else stacked[0]


def _of_sample(name: str, value: Any, i: int, batch: int) -> Any:
    """The item for sample i of a batch."""
    several = isinstance(value, (Tensor, np.ndarray)) and value.ndim in (1, 4) and value.shape[0] > 1
    if not several or batch == 1:
        return value
    if value.shape[0] != batch:
        raise UnfoldError(f"there are {value.shape[0]} of {name} for {batch} pictures: give one, or one each")
    return value[i]


def _pillow(picture: Pillow.Image, restore: Restore, inputs: Named) -> Pillow.Image:
    """Keep the mode; expand palettes and black and white; keep alpha."""
    mode = EXPANDED.get(picture.mode, picture.mode)
    if picture.has_transparency_data and mode in ("L", "RGB"):
        mode += "A"
    if mode not in MODES:
        raise UnfoldError(f'a PIL image of mode {picture.mode} is not taken: convert it first, .convert("RGB")')
    array = np.asarray(picture if mode == picture.mode else picture.convert(mode))
    if array.dtype.kind == "u":
        array = array.astype(array.dtype.newbyteorder("="))
    colours = array[..., :-1] if mode.endswith("A") else array
    result = restore(colours, inputs)
    if mode.endswith("A"):
        scale = result.shape[0] // colours.shape[0]
        result = np.dstack([result, enlarge_alpha(array[..., -1], scale)])
    made = Pillow.fromarray(result[..., 0] if result.ndim == 3 and result.shape[2] == 1 else result)
    made.info.update({key: value for key, value in picture.info.items() if key != "transparency"})
    return made
