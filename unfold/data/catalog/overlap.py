"""Find images that show the same photograph: copies, crops, re-encoded, rescaled or rotated ones.

Three steps, from cheap to certain. Corners of every image are described by ORB (Rublee et al., ICCV 2011), 256 bits
each. Descriptors of two images that agree in one of eight 32-bit words are found by sorting, so that the work grows
with the number of images, not with its square. For images with enough matches a similarity transform is fitted by
RANSAC. Then one is laid over the other, and the pixels decide. Mirrored images and negatives are not found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unfold.util.arrays import Array

Image = NDArray[np.uint8] | NDArray[np.uint16]

EDGE = 16  # pixels around a corner that its descriptor uses
ORB_SIZE = 31  # size of a corner in ORB's lowest layer
FAINTEST = 5  # minimum difference of a corner from its surroundings, in grey values
PIXELS_PER_TRY = 20  # per corner searched for
APART = 10  # minimum distance of kept corners, in pixels of their layer
MOST = 4000
DISTANCE = 48  # bits by which two descriptors of one corner may differ
AGREE = 5  # corners that agree on one transform
SCALES = (0.25, 4.0)
SAME_WORD = 4  # descriptors of one group kept per shared word: repeated textures and videos have many
WORD_LIMIT = 20  # a word shared by more descriptors is ignored
PARTNERS = 3  # candidates per image in each other group
# Measured on 1014 images of 13 sets: correlation of the same photograph at least 0.81 (heavy rain, other shape), of
# others at most 0.61.
CORRELATION = 0.8
SMALLEST_OVERLAP = 1024  # pixels
_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1)


class Corners(NamedTuple):
    """points: (N,2) float32, x and y; words: (N,8) uint32, the 256 bits of each descriptor."""

    points: NDArray[np.float32]
    words: NDArray[np.uint32]


class Candidate(NamedTuple):
    """Images ``first`` < ``second`` by number, and the (2,3) matrix that maps x, y of the first to the second."""

    first: int
    second: int
    transform: Array


class Overlap(NamedTuple):
    """How one image lies in another.

    correlation: of the blurred grey values in the common part; equal: whether all pixels there are the same; scale,
    turn: size of the second image's content relative to the first's, and its rotation in degrees; corner: row and
    column in the first image of the second's upper left pixel; covers: the shares of the first and of the second image
    that lie in the common part.
    """

    correlation: float
    equal: bool
    scale: float
    turn: float
    corner: tuple[int, int]
    covers: tuple[float, float]


def find_corners(image: Image) -> Corners:
    """Describe the corners of an image (H,W,3) RGB; a tiny or flat image has none."""
    import cv2

    points: Sequence[Any] = []
    bits = None
    if min(image.shape[:2]) > 2 * EDGE:
        grey = _grey(image)
        orb = cv2.ORB.create(nfeatures=grey.size // PIXELS_PER_TRY, edgeThreshold=EDGE, fastThreshold=FAINTEST)
        points, bits = orb.compute(grey, _spread_out(orb.detect(grey, None)))
    if bits is None:
        return Corners(np.empty((0, 2), np.float32), np.empty((0, 8), np.uint32))
    return Corners(np.array([point.pt for point in points], np.float32), np.ascontiguousarray(bits).view(np.uint32))


def _spread_out(points: Sequence[Any]) -> list[Any]:
    """Locally strongest corners, so that a crop keeps its own corners, in flat and in detailed parts."""
    import cv2

    kept: list[Any] = []
    for octave in {point.octave for point in points}:
        level = [point for point in points if point.octave == octave]
        places = np.array([point.pt for point in level]) / level[0].size * ORB_SIZE
        rows, columns = places.astype(int).T[::-1]
        strength = np.array([point.response for point in level], np.float32)
        field = np.full((rows.max() + 1, columns.max() + 1), -np.inf, np.float32)
        np.maximum.at(field, (rows, columns), strength)
        around = cv2.dilate(field, np.ones((2 * APART + 1, 2 * APART + 1), np.uint8))
        kept += [level[i] for i in np.flatnonzero(strength >= around[rows, columns])]
    return sorted(kept, key=lambda point: -point.response)[:MOST]


def find_candidates(images: Sequence[Corners], groups: Sequence[int]) -> list[Candidate]:
    """Pairs of images of different groups with common corners, and the transform between them."""
    import cv2

    if len(set(groups)) < 2:
        return []
    points = np.concatenate([image.points for image in images])
    owner = np.repeat(np.arange(len(images)), [len(image.points) for image in images])
    matches = _matches(np.concatenate([image.words for image in images]), np.asarray(groups)[owner])
    sides = owner[matches]
    pairs, of_pair, counts = np.unique(sides, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(of_pair.ravel(), kind="stable")
    rows = np.split(matches[order], np.cumsum(counts)[:-1])
    found = []
    for k in _best(pairs, counts, np.asarray(groups)):
        a, b = points[rows[k][:, 0]], points[rows[k][:, 1]]
        transform, inside = cv2.estimateAffinePartial2D(a, b, method=cv2.RANSAC, ransacReprojThreshold=3)
        if transform is None or inside.sum() < AGREE or not SCALES[0] < _scale(transform) < SCALES[1]:
            continue
        shift = np.median((b - a)[inside.ravel() > 0], axis=0).round()
        if (
            abs(_scale(transform) - 1) < 0.02
            and abs(_turn(transform)) < 1
            and np.abs(transform[:, 2] - shift).max() < 9
        ):
            transform = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float64)
        found.append(Candidate(int(pairs[k, 0]), int(pairs[k, 1]), transform))
    return found


def _matches(words: NDArray[np.uint32], group: Array) -> NDArray[np.int64]:
    """(M,2) index pairs of descriptors from two groups, smaller first, that differ in few bits and share a word."""
    found = [np.empty((0, 2), np.int64)]
    for column in words.T:
        order = np.lexsort((group, column))
        key = column[order]
        order = order[_rank_in_run(key, group[order]) < SAME_WORD]
        key = column[order]
        begin = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])[: len(key)]
        length = np.diff(np.r_[begin, len(key)])
        order, key = (values[np.repeat(length, length) <= WORD_LIMIT] for values in (order, key))
        for step in range(1, WORD_LIMIT):
            same = np.flatnonzero(key[step:] == key[:-step])
            a, b = order[same], order[same + step]
            other = group[a] != group[b]
            a, b = a[other], b[other]
            near = _ONES[(words[a] ^ words[b]).view(np.uint8)].sum(axis=1) <= DISTANCE
            found.append(np.sort(np.stack([a[near], b[near]], axis=1), axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _rank_in_run(key: Array, group: Array) -> NDArray[np.int64]:
    """Number of entries before each with the same key and group; equal entries are adjacent."""
    new = np.r_[True, (key[1:] != key[:-1]) | (group[1:] != group[:-1])][: len(key)]
    place = np.arange(len(key))
    return place - np.maximum.accumulate(np.where(new, place, 0))


def _best(pairs: NDArray[np.int64], counts: NDArray[np.int64], groups: Array) -> list[int]:
    """The pairs to examine: for each image the best few in each other group, by common corners."""
    enough = np.flatnonzero(counts >= AGREE)
    taken: dict[tuple[int, int], int] = {}
    chosen = []
    for k in enough[np.argsort(-counts[enough], kind="stable")].tolist():
        a, b = pairs[k].tolist()
        ranks = [taken.setdefault(key, 0) for key in ((a, groups[b]), (b, groups[a]))]
        if min(ranks) < PARTNERS:
            chosen.append(k)
            taken[a, groups[b]] += 1
            taken[b, groups[a]] += 1
    return sorted(chosen)


def overlay(first: Image, second: Image, transform: NDArray[np.float64]) -> Overlap | None:
    """Lay the first image over the second; None if they show different content. Images are (H,W,3) RGB."""
    import cv2

    a, b = (cv2.GaussianBlur(_grey(image), (0, 0), 2).astype(np.float32) for image in (first, second))
    size = b.shape[::-1]
    laid = cv2.warpAffine(a, transform, size, flags=cv2.INTER_AREA if _scale(transform) < 1 else cv2.INTER_LINEAR)
    both = cv2.warpAffine(np.ones_like(a), transform, size, flags=cv2.INTER_NEAREST) > 0
    if both.sum() < SMALLEST_OVERLAP:
        return None
    left, top = (cv2.invertAffineTransform(transform) @ [0, 0, 1]).tolist()
    equal = bool((transform[:, :2] == np.eye(2)).all()) and _equal(first, second, round(top), round(left))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = 1.0 if equal else float(np.corrcoef(laid[both], b[both])[0, 1])  # NaN where one is flat
    if not correlation >= CORRELATION:
        return None
    scale = _scale(transform)
    covers = (min(1.0, float(both.sum()) / scale**2 / a.size), float(both.mean()))
    return Overlap(correlation, equal, scale, _turn(transform), (round(top), round(left)), covers)


def _equal(first: Image, second: Image, top: int, left: int) -> bool:
    """Whether the pixels agree where the second image's upper left corner is at that row and column of the first."""
    in_first = first[max(top, 0) : top + second.shape[0], max(left, 0) : left + second.shape[1]]
    in_second = second[max(-top, 0) :, max(-left, 0) :][: in_first.shape[0], : in_first.shape[1]]
    return np.array_equal(in_first, in_second)


def _grey(image: Image) -> NDArray[np.uint8]:
    import cv2

    bytes_ = image if image.dtype == np.uint8 else (image >> 8).astype(np.uint8)
    return cv2.cvtColor(np.ascontiguousarray(bytes_), cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)


def _scale(transform: Array) -> float:
    return math.hypot(transform[0, 0], transform[1, 0])


def _turn(transform: Array) -> float:
    return math.degrees(math.atan2(transform[1, 0], transform[0, 0]))
