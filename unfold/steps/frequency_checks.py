"""Evidence in masks and measured frequencies that they are of another convention than that of numpy.fft.fft2."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from unfold.errors import UnfoldError
from unfold.util.arrays import Array
from unfold.util.value_checks import MOST

logger = logging.getLogger("unfold")

# What the checks expect, for those who declare such inputs.
MEASURED = "(B,1,H,W), complex, measured frequencies: numpy.fft.fft2 of a picture in [0,1], the zero frequency at [0,0]"
MASK = "(B|1,1,H,W) of 0 and 1, which frequencies are measured, the zero frequency at [0,0]"

# A mask is refused if one drawn at random, without any centre, would be as uneven with a smaller probability: training
# may draw a mask at each step, and all of them are checked.
CHANCE = 1e-4  # so lines among 128 columns or fewer mostly pass in any order; none of 3400 random masks was refused
LEAST = 0.25  # difference of densities below which a mask says nothing, however many frequencies it has
BOXES = (8, 16, 32, 64)  # sides of the looked-at boxes, as the mask's side over these
SHIFTS = ((0, 1), (0,), (1,))  # axes along which np.fft.fftshift may have moved the zero frequency
TIMES = 2.0  # how much stronger frequencies around another place must be than those around [0,0]
DARK, BLACK = 1 / 10, 1 / 64  # largest values of a zero-filled picture that is too dark to be in [0,1]
COMPLEX = 0.2  # of the amplitude: a larger difference of k(-f) from conj(k(f)) is no noise on a real picture


def check_mask(name: str, mask: Array) -> None:
    """UnfoldError if an array (H,W) is no mask of measured frequencies, 0 or 1 each, or if the zero frequency is
    most likely in the middle, not at [0,0], or 0 and 1 are exchanged.

    Nearly all masks measure the lowest frequencies most densely. A mask that is equally dense everywhere shows nothing
    and is taken as it is.
    """
    odd = mask[(mask != 0) & (mask != 1)]
    if odd.size:
        raise UnfoldError(
            f"{name} is 1 where a frequency is measured and 0 elsewhere, and {odd.size} of its values are neither, "
            f"such as {odd[0]:.6g}: mask > 0.5 makes one"
        )
    if not mask.any():
        raise UnfoldError(f"{name} is 0 everywhere: no frequency is measured")
    from scipy.stats import binom

    mean = float(mask.mean())
    rows, columns = (mask == mask[:1]).all(), (mask == mask[:, :1]).all()  # lines are drawn, not single frequencies
    tests = len(BOXES) * len(SHIFTS)
    for side in BOXES:
        reach = tuple(max(1, n // side) for n in mask.shape)
        down, across = (2 * r + 1 for r in reach)
        drawn = across if rows else down if columns else down * across
        corner = _around(mask, (), reach)
        for axes in SHIFTS:
            other = _around(mask, axes, reach)
            if other - corner <= LEAST:
                continue
            high = binom.sf(round(other * drawn) - 1, drawn, mean)
            both = max(float(high * binom.cdf(round(corner * drawn), drawn, mean)), 1e-300)
            if tests * both * (1 - np.log(both)) >= CHANCE:  # of the product of two uniform variables
                continue
            found = f"{name} measures {corner:.0%} of the lowest frequencies, around [0,0], {mean:.0%} of all"
            if other - mean < mean - corner:
                raise UnfoldError(f"{found}: 0 and 1 seem to be exchanged; 1 - mask changes that")
            raise UnfoldError(
                f"{found} and {other:.0%} around {_place(mask, axes)}: its zero frequency seems to be there, and is "
                f"wanted at [0,0]: {_remedy('mask', axes)} moves it"
            )


def check_spectrum(name: str, k: Array, mask: Array) -> None:
    """UnfoldError if measured frequencies k (H,W), complex, are most likely not those of a picture in [0,1] by
    numpy.fft.fft2, with the zero frequency at [0,0]; a logged note where that is in doubt.

    mask (H,W): which of them are measured; others may have any values.
    """
    if not np.isfinite(k).all():
        raise UnfoldError(f"{name} has numbers that are not finite (NaN or infinite)")
    if not k.any():
        raise UnfoldError(f"{name} is 0 everywhere: nothing was measured")
    power, one = np.abs(k) ** 2, (1, 1)
    strongest = max(SHIFTS, key=lambda axes: _around(power, axes, one))
    if _around(power, strongest, one) > TIMES**2 * _around(power, (), one):
        raise UnfoldError(
            f"{name} is strongest around {_place(k, strongest)}: its zero frequency seems to be there, and is wanted "
            f"at [0,0]: {_remedy(name, strongest)} moves it"
        )
    measured = k * mask
    if not measured.any():
        raise UnfoldError(f"{name} is 0 at all frequencies that the mask measures: they are not of one measurement")
    if (missing := 1 - np.count_nonzero(measured) / np.count_nonzero(mask)) > 0.01:
        logger.warning(
            "note: %s is 0 at %.0f %% of the frequencies that the mask measures: is it the mask of this measurement?",
            *(name, 100 * missing),
        )
    largest = float(np.fft.ifft2(measured).real.max())
    if largest > MOST or largest < BLACK:
        raise UnfoldError(
            f"the picture of {name} without a network (zero-filled) reaches {largest:.3g}, and {name} is "
            f"numpy.fft.fft2 of a picture in [0,1], without a factor: scale it"
            + (f' (by {k.size**0.5:g} if norm="ortho" made it)' if 0 < largest < BLACK else "")
        )
    if largest < DARK:
        logger.warning(
            "note: the picture of %s without a network (zero-filled) reaches %.3g only: the scale is that of "
            "numpy.fft.fft2 of a picture in [0,1], without a factor",
            *(name, largest),
        )
    mirrored = np.roll(measured[::-1, ::-1], (1, 1), (0, 1)).conj()
    both = (measured != 0) & (mirrored != 0)
    size = np.linalg.norm(measured[both])
    if size and np.linalg.norm((measured - mirrored)[both]) > 2 * COMPLEX * size:
        logger.warning("note: the picture of %s is complex, and the network restores a real one: its real part", name)


def check_measured(name: str, k: Array, inputs: Mapping[str, Array]) -> None:
    """:func:`check_spectrum` for k (1,H,W) and the input mask (H,W,1)."""
    check_spectrum(name, k[0], inputs["mask"][..., 0])


def _around(values: Array, axes: tuple[int, ...], reach: tuple[int, ...]) -> float:
    """The mean around [0,0], moved by half the size along the axes; the array is periodic."""
    places = [
        ((n // 2 if axis in axes else 0) + np.arange(-r, r + 1)) % n
        for axis, (n, r) in enumerate(zip(values.shape, reach, strict=True))
    ]
    return float(values[np.ix_(*places)].mean())


def _place(values: Array, axes: tuple[int, ...]) -> str:
    where = [n // 2 if axis in axes else 0 for axis, n in enumerate(values.shape)]
    return f"[{where[0]},{where[1]}]" + (", the middle" if len(axes) == 2 else "")


def _remedy(name: str, axes: tuple[int, ...]) -> str:
    return f"np.fft.ifftshift({name}{'' if len(axes) == 2 else f', axes={axes[0]}'})"
