"""Images cropped at the centre to multiples of a number, as in all-in-one restoration (DATA.MULTIPLE)."""

from __future__ import annotations

from unfold.data.stores.fingerprint import is_complete, key_of, sums_in
from unfold.data.stores.image_stores import Pixels, Store, Window, inside


def centred(size: tuple[int, int], multiple: int) -> Window:
    """The central window of an (H,W) image whose sides are multiples of a number.

    Of the h mod multiple rows removed, half (rounded down) are at the top and the rest at the bottom; columns likewise.
    """
    row, column = ((n % multiple) // 2 for n in size)
    height, width = (n // multiple * multiple for n in size)
    return Window(row, column, height, width)


class CutStore:
    """A store of such cropped images. ``scale`` is 1: aligned pairs stay aligned.

    Its fingerprint uses the whole images and the cropped sizes, so nothing must be decoded again for it.
    """

    scale = 1

    def __init__(self, store: Store, multiple: int) -> None:
        self.store, self.multiple = store, multiple

    def __len__(self) -> int:
        return len(self.store)

    def size(self, index: int) -> tuple[int, int]:
        middle = centred(self.store.size(index), self.multiple)
        return middle.height, middle.width

    @property
    def key(self) -> str:
        return f"{key_of(self.store)} {self.multiple}"

    def complete(self) -> bool:
        return is_complete(self.store)

    def sums(self, index: int) -> list[int]:
        return sums_in(self.store, index)

    def crop(self, index: int, window: Window) -> dict[str, Pixels]:
        inside(window, self.size(index))
        middle = centred(self.store.size(index), self.multiple)
        place = window._replace(row=middle.row + window.row, column=middle.column + window.column)
        return self.store.crop(index, place)
