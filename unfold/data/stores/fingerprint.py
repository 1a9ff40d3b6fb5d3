"""One digest for all images of a training set: whether two runs saw the same images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from unfold.data.stores.image_stores import LateStore, Store, Window
from unfold.data.stores.patch_cache import PatchCache, damage, opened
from unfold.data.stores.shared_store import sums_of
from unfold.util.progress import progress


def fingerprint(store: Store) -> str:
    """SHA-256 over the size of each image and the CRC-32 of its decoded pixels, also of its partner, in order.

    Files and a patch cache of them have the same fingerprint: the cache stores checksums of the same pixels. It changes
    with any pixel, for example by another decoder, and with the order, but not with file names.
    """
    total = hashlib.sha256()
    if isinstance(store, PatchCache):
        sums: Iterable[list[int]] = _stored(store)
    elif isinstance(store, LateStore):
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


def key_of(store: Store) -> str:
    """A key that identifies the images of a store, without decoding further images."""
    key: str | None = getattr(store, "key", None)
    return fingerprint(store) if key is None else key


def is_complete(store: Store) -> bool:
    """Whether all images of a store have been decoded once."""
    return store.complete() if isinstance(store, LateStore) else True


def sums_in(store: Store, index: int) -> list[int]:
    """The checksums of an image of any store, see :meth:`unfold.data.stores.image_stores.LateStore.sums`."""
    if isinstance(store, LateStore):
        return store.sums(index)
    return sums_of(store.crop(index, Window(0, 0, *store.size(index))))


def _computed(store: Store) -> Iterator[list[int]]:
    for index in range(len(store)):
        yield sums_of(store.crop(index, Window(0, 0, *store.size(index))))
