"""One number for all images of a training set: whether two runs saw the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from unfold.data.stores.image_stores import Store, Window
from unfold.data.stores.patch_cache import PatchCache, damage, opened
from unfold.data.stores.shared_store import SharedStore, sums_of
from unfold.util.progress import progress


def fingerprint(store: Store) -> str:
    """SHA-256 over the size of each image and the CRC-32 of its decoded pixels, its partner's too, in their order.

    The same for files and for a patch cache of them, whose stored checksums are taken: both hold the same pixels. It
    changes with any pixel, be it by another decoder, and with the order, and not with names of files.
    """
    total = hashlib.sha256()
    if isinstance(store, PatchCache):
        sums: Iterable[list[int]] = _stored(store)
    elif isinstance(store, SharedStore):
        sums = map(store.sums, progress(range(len(store)), "fingerprint of the images", "image"))
    else:
        sums = _computed(store)
    for index, of_image in enumerate(sums):
        total.update(f"{store.size(index)} {of_image}\n".encode())
    return total.hexdigest()


def _stored(cache: PatchCache) -> list[list[int]]:
    with opened(cache.path) as file, damage(cache.path):
        sums: list[list[int]] = file["crc32"][()].tolist()
    return sums


def _computed(store: Store) -> Iterator[list[int]]:
    for index in range(len(store)):
        yield sums_of(store.crop(index, Window(0, 0, *store.size(index))))
