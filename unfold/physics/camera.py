"""Camera noise: drawn on the sensor's mosaic, then propagated through demosaicing, colours and tone curve."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

GAMMA = 2.2  # of the tone curve: light = value^2.2

# Malvar, He, Cutler: High-quality linear interpolation for demosaicing of Bayer-patterned color images (ICASSP 2004),
# in eighths: green at red or blue; a colour at green with its neighbours of that colour in the row; red at blue.
_GREEN = np.array([[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]]) / 8
_IN_ROW = np.array([[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]) / 8
_ACROSS = np.array(
    [[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]]
) / 8  # fmt: skip
# Bilinear interpolation from the colour's own samples only.
_GREEN_BILINEAR = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]]) / 4
_COLOUR_BILINEAR = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 4


class Camera(NamedTuple):
    """The properties of a camera that shape its noise.

    gain, read: the variance of the noise at light x in [0,1] is gain x + read; white: white balance factors of red,
    green and blue; colours: matrix from the sensor's colours to the picture's, rows of sum 1; malvar: demosaicing by
    Malvar's filters, else bilinear; smooth: standard deviations in pixels of the blurs of the noise's brightness and of
    its colour, 0 for none, because cameras smooth their pictures, colour more than brightness, which leaves blotches;
    kept: strength of the noise after that blur: 0 for what the blur leaves, 1 for as much as before it, and in between
    on a logarithmic scale.
    """

    gain: float
    read: float
    white: tuple[float, float, float]
    colours: NDArray[np.float32]
    malvar: bool
    smooth: tuple[float, float]
    kept: float = 0.0


def colour_matrix(saturation: float) -> NDArray[np.float32]:
    """(3,3), rows of sum 1: 1 + saturation on the diagonal, the rest equal."""
    return ((1 + 1.5 * saturation) * np.eye(3) - 0.5 * saturation * np.ones((3, 3))).astype(np.float32)


def demosaic(mosaic: NDArray[np.float32], malvar: bool) -> NDArray[np.float32]:
    """A mosaic RGGB (H,W) -> (H,W,3), linear in the mosaic."""
    own = np.zeros((*mosaic.shape, 3), np.float32)
    own[::2, ::2, 0], own[1::2, 1::2, 2] = mosaic[::2, ::2], mosaic[1::2, 1::2]
    own[::2, 1::2, 1], own[1::2, ::2, 1] = mosaic[::2, 1::2], mosaic[1::2, ::2]
    if not malvar:
        kernels = (_COLOUR_BILINEAR, _GREEN_BILINEAR, _COLOUR_BILINEAR)
        return np.dstack([_filtered(own[..., i], kernel) for i, kernel in enumerate(kernels)])
    green, row, across = (_filtered(mosaic, kernel) for kernel in (_GREEN, _IN_ROW, _ACROSS))
    column = _filtered(mosaic, _IN_ROW.T)
    own[::2, ::2, 1], own[1::2, 1::2, 1] = green[::2, ::2], green[1::2, 1::2]
    # Red has its neighbours in the row in even rows and in the column in odd rows; blue vice versa.
    own[::2, 1::2, 0], own[1::2, ::2, 0], own[1::2, 1::2, 0] = row[::2, 1::2], column[1::2, ::2], across[1::2, 1::2]
    own[::2, 1::2, 2], own[1::2, ::2, 2], own[::2, ::2, 2] = column[::2, 1::2], row[1::2, ::2], across[::2, ::2]
    return own


def _filtered(image: NDArray[np.float32], kernel: NDArray[np.float64]) -> NDArray[np.float32]:
    # Reflected without repeating the border, so that the mosaic pattern continues.
    return np.asarray(cv2.filter2D(image, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT_101))


def add_camera_noise(x: NDArray[np.float32], camera: Camera, rng: np.random.Generator) -> NDArray[np.float32]:
    """The picture x (H,W,3) in [0,1] with the camera's noise, in [0,1], not rounded.

    The noise at each site of the sensor depends on the light there. Demosaicing is linear here, so only the noise
    passes through it, and the picture keeps its sharpness: a network trained on such pairs does not sharpen.
    """
    light = x**GAMMA
    white = np.array(camera.white, np.float32)
    sensor = np.maximum(light @ np.linalg.inv(camera.colours).T.astype(np.float32), 0) / white
    sites = sensor[..., 1].copy()
    sites[::2, ::2], sites[1::2, 1::2] = sensor[::2, ::2, 0], sensor[1::2, 1::2, 2]
    noise = rng.standard_normal(sites.shape, dtype=np.float32) * np.sqrt(camera.gain * sites + camera.read)
    colours = (demosaic(noise.astype(np.float32), camera.malvar) * white) @ camera.colours.T
    grey = colours.mean(axis=2, keepdims=True)
    of_grey, of_colour = camera.smooth
    colours = _smoothed(grey, of_grey, camera.kept) + _smoothed(colours - grey, of_colour, camera.kept)
    return (np.clip(light + colours, 0, 1) ** (1 / GAMMA)).astype(np.float32)


def _smoothed(noise: NDArray[np.float32], width: float, kept: float) -> NDArray[np.float32]:
    if not width:
        return noise
    blurred = np.asarray(cv2.GaussianBlur(noise, (0, 0), width)).reshape(noise.shape)
    return blurred * np.float32((noise.std() / max(blurred.std(), 1e-12)) ** kept)


def jpeg(x: NDArray[np.uint8], quality: int, offset: tuple[int, int] = (0, 0)) -> NDArray[np.uint8]:
    """x (H,W,3) after JPEG of that quality, with chroma subsampling. offset: rows and columns, below 16, by which the
    blocks start before the picture, as a crop of a photograph does not start at a block.
    """
    down, right = offset
    padded = cv2.copyMakeBorder(x, down, 0, right, 0, cv2.BORDER_REFLECT_101)
    _, coded = cv2.imencode(".jpg", padded[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    return np.ascontiguousarray(decoded[down:, right:, ::-1]).astype(np.uint8)
