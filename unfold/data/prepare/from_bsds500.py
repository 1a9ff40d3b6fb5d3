"""Make sets, or parts of sets, from the photographs of BSDS500."""

from __future__ import annotations

import errno
import filecmp
import json
import shutil
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import numpy as np
from natsort import natsorted
from numpy.typing import NDArray
from PIL import Image

from unfold.data.images import find_folder, images_in, is_image_name, read_image
from unfold.data.pairs import INPUTS, subfolder
from unfold.data.prepare.atomic_folders import whole_folder
from unfold.errors import UnfoldError
from unfold.util.arrays import width_x_height
from unfold.util.atomic_files import whole_file
from unfold.util.progress import progress

# Name of each image of Rain100H -> number of its photograph in BSDS.
RAIN100H: dict[str, str] = json.loads(Path(__file__).with_name("rain100h.json").read_text())
# The same of BSD100: of the images 1, 2, ...
BSD100: list[str] = json.loads(Path(__file__).with_name("bsd100.json").read_text())


# The photographs of CBSD68.
CBSD68: list[str] = json.loads(Path(__file__).with_name("cbsd68.json").read_text())


def prepare_rain100h(bsds: str, rain: str = "Rain100H", output: Path | None = None) -> str:
    """Make the ground truth of Rain100H: photographs of BSDS without their last row and column.

    bsds: folder that holds BSDS500's JPEG files, at any depth; rain: folder that holds Rain100H's inputs in a folder of
    :data:`unfold.data.pairs.INPUTS`; both as they are or under UNFOLD_DATA. The clean images are written beside the
    inputs; or into ``output``, which also gets copies of the inputs, so that it is a complete set. Only missing files
    are written, so that an interrupted run can be repeated. Returns a one-line report. UnfoldError if files are
    missing or of another size, where a folder cannot be written and, before anything is written, where it holds other
    images.
    """
    home = find_folder(rain)
    inputs = _inputs_of(home)
    photographs = _photographs(find_folder(bsds), RAIN100H.values())
    root = output or home
    target = subfolder(root, "target") or root / "target"
    copies = None if root.resolve() == home.resolve() else subfolder(root, "input") or root / "input"
    photos = progress(inputs, "reading the photographs", "image")
    cleans = {target / f"{path.stem}.png": _clean(photographs[RAIN100H[path.stem]]) for path in photos}
    copied = {copies / path.name: path for path in inputs} if copies else {}
    _only_these(target, cleans, lambda path: _shows(path, cleans[path]))
    if copies:
        _only_these(copies, copied, lambda path: filecmp.cmp(copied[path], path, shallow=False))
    written = 0
    try:
        # Inputs first: a set without all targets is refused, not mistaken for a smaller one.
        for path, source in progress(list(copied.items()), "copying the inputs", "image"):
            _copy(source, path)
        for path, image in progress(list(cleans.items()), "preparing Rain100H", "image"):
            written += _write(image, path)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UnfoldError(f"{root} cannot be written ({error.strerror}); name a folder with --output") from None
        raise
    return f"Rain100H in {root}: {written} clean images written, {len(inputs) - written} were there already"


def prepare_bsd100(bsds: str, output: Path) -> str:
    """Make BSD100 (of scale factors 2 and 4): photographs of BSDS500 without their last row and column.

    They are called img_001_SRF_2_HR.png and so on, as published with sizes that are multiples of 2. bsds: as of
    :func:`prepare_rain100h`. Resumable (see whole_folder). Returns what was done, in one line. UnfoldError if
    photographs are missing or of another size.
    """
    photographs = _photographs(find_folder(bsds), BSD100)
    with whole_folder(output, {"set": "bsd100"}) as folder:
        if folder is None:
            return f"BSD100 in {output}: all was there already"
        written = 0
        for place, number in progress(list(enumerate(BSD100, start=1)), "preparing BSD100", "image"):
            written += _write(_clean(photographs[number]), folder / f"img_{place:03}_SRF_2_HR.png")
    return f"BSD100 in {output}: {written} images written, {len(BSD100) - written} were there already"


def prepare_cbsd68(bsds: str, output: Path) -> str:
    """Make CBSD68: copies of the 68 photographs of BSDS500, called by their numbers.

    bsds: as of :func:`prepare_rain100h`. Resumable (see whole_folder). Returns what was done, in one line. UnfoldError
    if photographs are missing.
    """
    photographs = _photographs(find_folder(bsds), CBSD68)
    with whole_folder(output, {"set": "cbsd68"}) as folder:
        if folder is None:
            return f"CBSD68 in {output}: all was there already"
        for number in progress(CBSD68, "preparing CBSD68", "image"):
            _copy(photographs[number], folder / f"{number}.jpg")
    return f"CBSD68 in {output}: {len(CBSD68)} images"


def _inputs_of(home: Path) -> list[Path]:
    folder = subfolder(home, "input")
    if folder is None:
        raise UnfoldError(f"{home} has no folder of inputs, which would be called {', '.join(INPUTS)}")
    files = images_in(folder)
    names = sorted(path.stem for path in files)
    if names != sorted(RAIN100H):
        odd = sorted(set(names) ^ set(RAIN100H))
        raise UnfoldError(
            f"{folder} is not Rain100H's, whose images are called 1 to 100: {len(files)} images, "
            f"and {odd[0] if odd else 'a name that is there twice'} does not fit"
        )
    return files


def _photographs(folder: Path, numbers: Iterable[str]) -> dict[str, Path]:
    found = {path.stem: path for path in sorted(folder.rglob("*.jpg"), reverse=True) if path.name[0] != "."}
    missing = sorted(set(numbers) - set(found))
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UnfoldError(f"{folder} has no {missing[0]}.jpg{more}: all of BSDS500 is needed, train and val at least")
    return found


def _clean(path: Path) -> NDArray[np.uint8]:
    image = read_image(path)
    if sorted(image.shape[:2]) != [321, 481]:
        raise UnfoldError(f"{path} is {width_x_height(image.shape)}, and photographs of BSDS 321x481 or 481x321")
    return image.astype(np.uint8, copy=False)[:-1, :-1]


def _only_these(folder: Path, wanted: Collection[Path], same: Callable[[Path], bool]) -> None:
    """UnfoldError if the folder holds another image than the wanted ones, or one that is not the same."""
    there = (path for path in folder.iterdir() if is_image_name(path.name)) if folder.is_dir() else ()
    for path in natsorted({*there} | {path for path in wanted if path.exists()}):
        if path not in wanted or not same(path):
            raise UnfoldError(
                f"{path} already exists, and is damaged or not what is to be written: "
                "nothing was written; move it away, or name another folder with --output"
            )


def _shows(path: Path, image: NDArray[np.uint8]) -> bool:
    """Whether a file holds exactly these pixels."""
    try:
        return np.array_equal(read_image(path), image)
    except UnfoldError:
        return False


def _write(image: NDArray[np.uint8], path: Path) -> bool:
    """Write an image; False where there was one already."""
    if path.exists():
        return False
    with whole_file(path) as file:
        Image.fromarray(image).save(file, "PNG")
    return True


def _copy(source: Path, path: Path) -> None:
    if not path.exists():
        with source.open("rb") as begin, whole_file(path) as end:
            shutil.copyfileobj(begin, end)
