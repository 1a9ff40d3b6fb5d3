"""One number for all images of a training set: whether two runs saw the same."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator

from unfold.data.stores.image_stores import Store, Window
from unfold.data.stores.patch_cache import PatchCache, damage, opened


def fingerprint(store: Store) -> str:
    """SHA-256 over the size of each image and the CRC-32 of its decoded pixels, its partner's too, in their order.

    The same for files and for a patch cache of them, whose stored checksums are taken: both hold the same pixels. It
    changes with any pixel, be it by another decoder, and with the order, and not with names of files.
    """
    total = hashlib.sha256()
    sums = _stored(store) if isinstance(store, PatchCache) else _computed(store)
    for index, of_image in enumerate(sums):
        total.update(f"{store.size(index)} {of_image}\n".encode())
    return total.hexdigest()


def _stored(cache: PatchCache) -> list[list[int]]:
    with opened(cache.path) as file, damage(cache.path):
        sums: list[list[int]] = file["crc32"][()].tolist()
    return sums


def _computed(store: Store) -> Iterator[list[int]]:
    for index in range(len(store)):
        images = store.crop(index, Window(0, 0, *store.size(index)))
        yield [zlib.crc32(images[kind].tobytes()) for kind in sorted(images)]
