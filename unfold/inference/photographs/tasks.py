"""Tasks by one word (denoise, enlarge, deblur, derain): weights, settings, and a sentence on what was assumed.

The guard checks every result of a network. If it refuses one, a safer assumption is tried. At last the picture stays as
it is, or is enlarged by bicubic interpolation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unfold.errors import UnfoldError
from unfold.inference.kernel_and_noise import gaussian
from unfold.inference.photographs.evidence import SOFT, Evidence
from unfold.inference.photographs.guard import evenness, implausible, share_to_keep, size_of_change, takes_rain
from unfold.inference.photographs.reductions import LENS, kernel_of
from unfold.inference.tile_size import Tile
from unfold.models.unfolding import UnfoldingNetwork
from unfold.physics.kernels import Kernel
from unfold.util.arrays import is_grey, white

Task = Literal["denoise", "enlarge", "deblur", "derain"]
TASKS: tuple[Task, ...] = get_args(Task)
DENOISER = "usrnet_tiny_small"
CAMERA_DENOISER = "hqs_denoiser_small"  # of colour pictures: it was trained on noise of cameras and JPEG
WEIGHTS: dict[Task, str] = {
    "denoise": DENOISER,
    "enlarge": "usrnet_tiny_small",
    "deblur": "usrnet_tiny_small",
    "derain": "dgunet_derain_small",
}
SCALES = (2, 3, 4)
AT_ONCE, TILE = 2_000_000, 1024  # pixels of the result, and the side of a tile: usrnet_tiny then takes 1.5 GB
Pixels = NDArray[Any]
Run = Callable[[dict[str, Any]], Pixels]  # the inputs besides the picture -> the network's result

# Noise level given to the network for JPEG error, for which it was not trained: measured on BSDS500's val
# (docs/photographs.md). Noise is given as it is found.
JPEG_GIVEN, JPEG_NOTHING, ENLARGED_JPEG = 1.3, 0.7, 1.7
MOST_GIVEN, MOST_FOR_JPEG = 24.0, 16.0  # the weights were not trained on more noise; for JPEG, more is worse
LEAST_FOR_JPEG = 3.0  # less is the error of JPEG of high quality, which a picture that was saved twice may not hold
# Least change of a grey picture, over the level given, if the noise found is noise: on BSDS500's val noise has 0.39 and
# more but for one picture in nine, most texture that was taken for noise 0.27 to 0.37.
TAKEN_FOR_NOISE = 0.38
STRONG_NOISE = 10.0  # of 255: white noise of this strength is removed better by the network that was trained on it
WEAK = 3.0  # of 255: in a soft picture, errors of so weak a JPEG cannot be removed without deblurring
# Pixels from which a blur is undone: of 100 sharp photographs of BSDS500's val none has more, one 0.64; of the same
# blurred by 0.8 to 1.2 pixels 81 have.
DEBLURRED = 0.65
LEAST_GIVEN = {"enlarge": 1.0, "deblur": 3.0}
# CAMERA_DENOISER: the strength given to it for 1; the change of a picture (root mean square over its colours, of 255)
# below which it more often removes texture than noise; the least quality of JPEG that it was trained on.
GENTLE, LEAST_CHANGE, LEAST_QUALITY = 0.7, 2.25, 60
# Evenness of a change that is noise: on BSDS500's val camera noise has 0.92 and more, good pictures have 0.49 and more.
LEAST_EVENNESS = 0.8
WEAK_CHANGE, SHARE_OF_WEAK = 5.0, 0.8  # of a change below the former, the latter is kept: it takes texture, too
BLIND_SHARE = 0.5  # share of the change that is kept where only JPEG error was found and the network takes no level


def weights_for(task: Task, evidence: Evidence, picture: Pixels) -> str:
    """The weights for a picture (H,W,1|3): those of the task, but for denoising in colour those for cameras."""
    coarse = evidence.quality is not None and evidence.quality < LEAST_QUALITY
    return CAMERA_DENOISER if task == "denoise" and not is_grey(picture) and not coarse else WEIGHTS[task]


def denoised_first(task: Task, evidence: Evidence, picture: Pixels) -> bool:
    """Whether CAMERA_DENOISER (strength GENTLE) runs before the task: sharpening would amplify noise that the evidence
    does not show. On soft pictures without noise that costs 0.15 of 2.3 dB (16 of BSDS500's val).
    """
    return (
        task == "deblur" and evidence.blur > DEBLURRED and weights_for("denoise", evidence, picture) == CAMERA_DENOISER
    )


class Restored(NamedTuple):
    """The picture, and one sentence: what was assumed, and how to change it."""

    image: Pixels
    sentence: str


def check_task(task: Task | None, scale: int | None, strength: float | None, own: Sequence[str]) -> None:
    """UnfoldError for options that exclude each other. own: given options that choose network and inputs by hand."""
    if task is None:
        if strength is not None:
            raise UnfoldError("--strength goes with --task")
        if "--weights" not in own:
            raise UnfoldError(f"give --task {'|'.join(TASKS)}, or --weights for a network of your choice")
        return
    if own:
        raise UnfoldError(f"--task chooses weights and settings itself: leave {', '.join(own)} out, or --task")
    if strength is not None and not 0 <= strength <= 4:
        raise UnfoldError(f"--strength is a number from 0 to 4, 1 as measured, not {strength:g}")
    if task == "enlarge" and scale not in SCALES:
        raise UnfoldError(f"--task enlarge needs --scale {', '.join(map(str, SCALES))}")
    if task != "enlarge" and scale not in (None, 1):
        raise UnfoldError(f"--scale goes with --task enlarge, not with {task}")


def bounded(tile: Tile, picture: Pixels, scale: int) -> Tile:
    """The tile of --tile; large pictures are tiled even where memory would allow the whole."""
    large = picture.shape[0] * picture.shape[1] * scale**2 > AT_ONCE
    return TILE if tile == "auto" and large else tile


def point() -> Kernel:
    """A kernel without blur."""
    kernel = np.zeros((3, 3))
    kernel[1, 1] = 1
    return kernel


def restore_photograph(
    picture: Pixels,
    task: Task,
    evidence: Evidence,
    net: UnfoldingNetwork,
    run: Run,
    scale: int = 1,
    strength: float = 1,
    level: float | None = None,
) -> Restored:
    """Restore a picture (H,W,1|3), uint8, uint16 or float32 in [0,1], with settings from the evidence; implausible
    results are refused.

    net: of WEIGHTS[task], or for enlarge any that takes a kernel and a scale; run: maps the inputs besides the picture
    to the network's result. strength: factor on what is assumed, 1 as measured; 0 changes nothing. level: for enlarge,
    the noise to assume, of 255, in place of the evidence's.
    """
    if task == "enlarge":
        return _enlarge(picture, evidence, run, scale, fitting_level(evidence, strength) if level is None else level)
    if strength == 0:
        return Restored(picture, "strength 0: the picture is left as it is")
    if task == "denoise":
        return _denoise(picture, evidence, net, run, strength)
    return _deblur(picture, evidence, run, strength) if task == "deblur" else _derain(picture, run, strength)


def kept_with_its_jpeg(evidence: Evidence) -> bool:
    """Whether the only error found is that of a JPEG which somebody decoded and saved again without loss: it may be
    the only original there is, and what a JPEG of at least LEAST_QUALITY took is not worth a change that may harm it.
    """
    if evidence.in_file or evidence.quality is None or evidence.noise:
        return False
    return evidence.quality >= LEAST_QUALITY


def _denoise(picture: Pixels, evidence: Evidence, net: UnfoldingNetwork, run: Run, strength: float) -> Restored:
    if kept_with_its_jpeg(evidence) and strength <= 1:
        return _nothing_to_remove(picture, evidence, "--strength 1.2 removes what that JPEG left, and noise")
    if "strength" in net.inputs:  # it sees the level itself, at each place
        return _denoise_by_its_own_level(picture, evidence, run, strength)
    from_jpeg = _given_for_jpeg(evidence)
    if evidence.blur > SOFT and evidence.jpeg < WEAK:
        from_jpeg = 0.0
    assumed = float(np.hypot(evidence.noise, from_jpeg))
    given = strength * assumed
    if given < (1 if evidence.noise else LEAST_FOR_JPEG):
        return _nothing_to_remove(picture, evidence, "--weights dgunet_denoise_small denoises it all the same")
    inputs: dict[str, Any] = {"sigma": min(given, MOST_GIVEN) / 255} if "sigma" in net.inputs else {}
    if "kernel" in net.inputs:
        inputs |= {"kernel": point(), "scale": 1}
    result: Pixels | None = None
    if evidence.noise and "sigma" in inputs and strength <= 1 and is_grey(picture):
        level = min(assumed, MOST_GIVEN)
        whole = run(inputs | {"sigma": level / 255})  # at less than strength 1 noise stays, too
        if size_of_change(picture, whole) < TAKEN_FOR_NOISE * level:
            image, sentence = _denoise(picture, replace(evidence, noise=0.0), net, run, strength)
            return Restored(image, f"noise of {evidence.noise:.1f} (of 255) taken for texture; {sentence}")
        result = whole if strength == 1 else None
    result = run(inputs) if result is None else result
    share = share_to_keep(picture, result, strength * evidence.error())
    if "sigma" not in inputs and not evidence.noise:
        share *= BLIND_SHARE
    kept = "" if share > 0.99 else f"; {100 * share:.0f} % of the change kept, as more would be more than that"
    return Restored(
        blended(picture, result, share),
        f"found {evidence.sentence()}: assumed noise of {min(given, MOST_GIVEN):.0f} (of 255"
        f"{', the most it can assume' if given > MOST_GIVEN else ''}){kept}; --strength 0.5 removes less, 2 more"
        f"{_for_white_noise(evidence)}",
    )


def _denoise_by_its_own_level(picture: Pixels, evidence: Evidence, run: Run, strength: float) -> Restored:
    how = "if it is noisy, --strength 2 removes more"
    if not evidence.error() and strength <= 1:  # fine texture without a trace of a camera may look like noise
        return _nothing_to_remove(picture, evidence, how)
    result = run({"strength": GENTLE * strength})
    change = size_of_change(picture, result)
    little = change < LEAST_CHANGE * min(1.0, strength)
    if evidence.jpeg < LEAST_FOR_JPEG and (little or evenness(picture, result) < LEAST_EVENNESS):
        return _nothing_to_remove(picture, evidence, how)
    found = evidence.sentence()
    if (why := implausible(picture, result, 1, change)) is not None:
        return Restored(picture, f"found {found}: the network's result was refused ({why}); left as it is")
    image = keeping_texture(picture, result)
    return Restored(
        image,
        f"found {found}: {size_of_change(picture, image):.1f} (of 255) taken for noise of a camera and JPEG "
        f"error, and removed; --strength 0.5 removes less, 1.5 more{_for_white_noise(evidence)}",
    )


def _for_white_noise(evidence: Evidence) -> str:
    """What to try against strong noise that no JPEG has smoothed: the task knows noise of cameras, and assumes less."""
    strong = evidence.noise >= STRONG_NOISE and evidence.quality is None
    return "; --weights dgunet_denoise_small removes more if the noise is white" if strong else ""


def keeping_texture(picture: Pixels, result: Pixels) -> Pixels:
    """What is kept of CAMERA_DENOISER's result: less than all of a weak change."""
    return blended(picture, result, SHARE_OF_WEAK if size_of_change(picture, result) < WEAK_CHANGE else 1.0)


def _nothing_to_remove(picture: Pixels, evidence: Evidence, how: str) -> Restored:
    more = "; --task deblur sharpens it" if evidence.blur > SOFT else ""
    return Restored(picture, f"found {evidence.sentence()}: nothing here to remove, left as it is ({how}{more})")


def _given_for_jpeg(evidence: Evidence) -> float:
    return min(MOST_FOR_JPEG, max(0.0, JPEG_GIVEN * (evidence.jpeg - JPEG_NOTHING)))


def fitting_level(evidence: Evidence, strength: float = 1) -> float:
    """The noise level, of 255, to use with a kernel: JPEG error and noise combined, never zero."""
    level = float(np.hypot(ENLARGED_JPEG * evidence.jpeg, evidence.noise))
    return min(MOST_GIVEN, max(LEAST_GIVEN["enlarge"], strength * level))


def _ways(evidence: Evidence) -> list[str]:
    """How the picture was probably made small, the first one first."""
    return ["lens", evidence.ways[0]] if evidence.blur > LENS else [evidence.ways[0]]


def assumption(evidence: Evidence, way: str, level: float, tried: str = "") -> str:
    """What was found, and the kernel and the noise level, of 255, that were assumed, in words."""
    return f"found {evidence.sentence()}: assumed it was made small by {way}{tried}, with noise of {level:.0f} (of 255)"


def first_way(evidence: Evidence) -> str:
    """How the picture was most probably made small: the kernel of :func:`first_assumption`, by its name."""
    return _ways(evidence)[0]


def first_assumption(evidence: Evidence, scale: int) -> dict[str, Any]:
    """Kernel and noise level in [0,1] units that are tried first for enlarging."""
    return {"kernel": kernel_of(first_way(evidence), scale, evidence.blur), "sigma": fitting_level(evidence) / 255}


def _enlarge(picture: Pixels, evidence: Evidence, run: Run, scale: int, level: float) -> Restored:
    refused: list[tuple[str, str]] = []
    for way in dict.fromkeys([*_ways(evidence), "area"]):
        kernel = kernel_of(way, scale, evidence.blur)
        result = run({"kernel": kernel, "scale": scale, "sigma": level / 255})
        why = implausible(picture, result, scale, level, evidence.blur if way == "lens" else 0.0)
        if why is None:
            tried = f" ({refused[0][0]} was refused: {refused[0][1]})" if refused else ""
            said = assumption(evidence, way, level, tried)
            return Restored(result, f"{said}; with --weights, --kernel and --sigma assume something else")
        refused.append((way, why))
    return Restored(
        bicubic(picture, scale),
        f"found {evidence.sentence()}: the network's results were refused ({refused[0][1]}); enlarged by bicubic "
        "interpolation instead",
    )


def _deblur(picture: Pixels, evidence: Evidence, run: Run, strength: float) -> Restored:
    found = evidence.sentence()
    if evidence.blur <= DEBLURRED:
        return Restored(
            picture, f"found {found}: no blur to undo, left as it is (--weights with --kernel gauss:WIDTH undoes one)"
        )
    level = float(np.hypot(_given_for_jpeg(evidence), evidence.noise))
    level = min(MOST_GIVEN, max(LEAST_GIVEN["deblur"], level))
    why: str | None = None
    for share in (1.0, 0.7):
        width = strength * share * evidence.blur
        result = run({"kernel": gaussian(width, 1), "scale": 1, "sigma": level / 255})
        problem = implausible(picture, result, 1, level, width)
        if problem is None:
            tried = f" (wider was refused: {why})" if why else ""
            return Restored(
                result,
                f"found {found}: assumed a Gaussian of {width:.2f} pixels{tried} and noise of {level:.0f} (of 255); "
                "--strength 0.8 sharpens less, 1.2 more",
            )
        why = why or problem
    return Restored(picture, f"found {found}: the network's results were refused ({why}); left as it is")


def _derain(picture: Pixels, run: Run, strength: float) -> Restored:
    result = run({})
    if not takes_rain(picture, result):
        return Restored(picture, "found no rain: what the network would remove is not bright streaks; left as it is")
    return Restored(
        blended(picture, result, min(1.0, strength)),
        "assumed bright streaks of rain over a sharp picture; --strength 0.5 removes half of them",
    )


def blended(picture: Pixels, result: Pixels, share: float) -> Pixels:
    """picture + share (result - picture), integers rounded; by rows, for memory."""
    if share >= 1:
        return result
    mixed = np.empty_like(result)
    for first in range(0, len(mixed), 256):
        rows = slice(first, first + 256)
        y = picture[rows].astype(np.float32)
        mixed[rows] = _in_kind(y + np.float32(share) * (result[rows].astype(np.float32) - y), mixed.dtype)
    return mixed


def bicubic(picture: Pixels, scale: int) -> Pixels:
    """Bicubic interpolation, each channel by itself, of 8 and 16 bits and floats in [0,1]."""
    peak = white(picture.dtype)
    size = (picture.shape[1] * scale, picture.shape[0] * scale)
    planes = []
    for c in range(picture.shape[2]):
        plane = Image.fromarray(picture[..., c].astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
        planes.append(_in_kind(np.asarray(plane).clip(0, peak), picture.dtype))
    return np.stack(planes, axis=2)


def _in_kind(values: Pixels, kind: np.dtype[Any]) -> Pixels:
    """Rounded for integers."""
    return (np.rint(values) if kind.kind == "u" else values).astype(kind)
