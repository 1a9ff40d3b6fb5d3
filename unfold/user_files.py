"""User code from files that a recipe, a command line or a call names; only this module runs it.

A file `ista.py` becomes the module `unfold.user_files.<folder in hex>.ista`. The name contains the file's
place, so any process can load it again: classes of such files can be pickled, also to worker processes of either kind.
Imports of files beside it (`import utils`, `from .utils import f`) are modules of the same folder, so files with one
name in two folders do not collide. Importing this module runs no user code.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib
import importlib.util
import inspect
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import FrameType, ModuleType, TracebackType
from typing import Any

from unfold.errors import UnfoldError, one_line, out_of_memory, reason_of
from unfold.util.paths import is_file

logger = logging.getLogger("unfold")

__path__: list[str] = []  # makes this module a package that contains the user modules

PREFIX = f"{__name__}."
KEPT = "code"  # the folder in a run folder that holds copies of the files
digests: dict[Path, str] = {}  # SHA-256 of the files when they were run
packages: set[str] = set()  # installed packages whose parts are in use: their errors are treated as user errors


def load_file(path: Path) -> ModuleType:
    """Run a file as a module, once; UnfoldError with file and line if it fails."""
    if not is_file(path):
        raise UnfoldError(f"there is no file {one_line(str(path))[:200]}")
    digest, path = digest_of(path), path.resolve()
    if digests.setdefault(path, digest) != digest:
        logger.warning("%s has changed since it was loaded, and the old version is used: start Python again", path)
    return _imported(_module_name(path), str(path))


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load_module(name: str) -> ModuleType:
    """Import an installed module; UnfoldError with file and line if it fails."""
    packages.add(name.partition(".")[0])
    return _imported(name, name)


def _imported(name: str, what: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except UnfoldError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and name.startswith(error.name):
            raise UnfoldError(f"there is no module {error.name} to be imported; install it, or name a file") from None
        raise UnfoldError(f"{place_of(error) or what}: {in_words(error)}") from error


def files_loaded(folder: Path) -> list[Path]:
    """The files of a folder and its subfolders that have been loaded in this process."""
    prefix = f"{PREFIX}{_coded(str(folder.resolve()))}."
    modules = [module for name, module in list(sys.modules.items()) if name.startswith(prefix)]
    return sorted(Path(file) for module in modules if (file := getattr(module, "__file__", None)))


def files_imported(file: Path) -> set[Path]:
    """The neighbouring files that a file imports, also inside functions, and the files that these import."""
    found: set[Path] = set()
    waiting = [file.resolve()]
    while waiting:
        one = waiting.pop()
        fresh = {Path(path).resolve() for path in _imports(one)} - found
        found |= fresh
        waiting += fresh
    return found


def _imports(file: Path) -> Iterator[str]:
    """The neighbouring files named in a file's imports."""
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (OSError, SyntaxError, ValueError):
        return
    for node in nodes:
        names = [one.name for one in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{name}" for name in names)] if node.module else names
        for name in names:
            folder = file.parent
            for part in name.split("."):
                if (path := _beside(str(folder), part)) is None:
                    break
                yield path
                folder = folder / part


def place_of(error: BaseException) -> str | None:
    """ "file:line" of the last user code in an error's traceback; None if there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    places = [f"{frame.f_code.co_filename}:{line}" for frame, line in _frames(error.__traceback__) if _is_theirs(frame)]
    return places[-1] if places else None


def line_of(method: Any) -> str:
    """ "file:line" of the start of a function, a method or a class."""
    function = inspect.unwrap(getattr(method, "__func__", method))
    try:
        file, lines = inspect.getsourcefile(function), inspect.getsourcelines(function)[1]
    except (OSError, TypeError):  # defined in a notebook, or in C
        return str(getattr(function, "__qualname__", function))
    return f"{file}:{lines}"


def in_words(error: BaseException) -> str:
    """An error's kind and text, in one line."""
    if isinstance(error, SystemExit):
        return "it ends the program (sys.exit): leave that to what calls it, below `if __name__ == '__main__':`"
    text = error.msg if isinstance(error, SyntaxError) else reason_of(error)
    return one_line(f"{type(error).__name__}: {text}" if text != type(error).__name__ else text)


@contextmanager
def their_errors(what: str) -> Iterator[None]:
    """Inside, errors of user code become an UnfoldError with file, line, reason and ``what``.

    Except out of memory, which other code handles with advice.
    """
    try:
        yield
    except UnfoldError:
        raise
    except (Exception, SystemExit) as error:
        if out_of_memory(error):
            raise
        if (place := place_of(error) or _of_signature(error)) is None:
            raise
        raise UnfoldError(f"{place}: {in_words(error)} (in {what})") from error


def _of_signature(error: BaseException) -> str | None:
    """file:line of a user function that was called with wrong arguments (Python raises that error in the caller); None
    for other errors.
    """
    found = re.match(r"([\w.]+)\(\) (?:takes|missing|got)", str(error)) if isinstance(error, TypeError) else None
    if found is None:
        return None
    for name, module in reversed(list(sys.modules.items())):  # newest first
        if name.startswith(PREFIX) or name.partition(".")[0] in packages:
            thing: object = module
            for part in found.group(1).split("."):
                thing = getattr(thing, part, None)
            if thing is not None:
                return line_of(thing)
    return None


def _frames(trace: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _is_theirs(frame: FrameType) -> bool:
    name = str(frame.f_globals.get("__name__", ""))
    return name.startswith(PREFIX) or name.partition(".")[0] in packages


def _coded(text: str) -> str:
    return os.fsencode(text).hex()


def _module_name(path: Path) -> str:
    stem = path.stem if path.stem.isidentifier() and not path.stem.startswith("x_") else f"x_{_coded(path.stem)}"
    return f"{PREFIX}{_coded(str(path.parent))}.{stem}"


def _beside(folder: str, name: str) -> str | None:
    """The file of a module in the folder; None if there is none."""
    stem = os.fsdecode(bytes.fromhex(name[2:])) if name.startswith("x_") else name
    base = Path(folder) / stem
    return next((str(file) for file in (base.with_name(f"{stem}.py"), base / "__init__.py") if file.is_file()), None)


class _Loader(SourceFileLoader):
    """Runs a file with an ``import`` that searches its folder first."""

    def exec_module(self, module: ModuleType) -> None:
        package = ".".join(self.name.split(".")[:3])
        folder = os.fsdecode(bytes.fromhex(package.rpartition(".")[2]))
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": _ImportBeside(package, folder)}
        super().exec_module(module)


class _ImportBeside:
    """``__import__`` for a file of ``folder``, whose modules are below ``package``.

    sys.path is not used: entries for one file would affect all others, and a function that imports later would find a
    changed path.
    """

    def __init__(self, package: str, folder: str) -> None:
        self.package, self.folder = package, folder

    def __call__(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        head = name.partition(".")[0]
        own = level == 0 and head != "unfold" and head not in sys.stdlib_module_names
        if not own or _beside(self.folder, head) is None:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        module = importlib.import_module(f"{self.package}.{name}")
        if not fromlist:
            return sys.modules[f"{self.package}.{head}"]
        for item in fromlist:  # as in Python, for `from package import module`
            if item != "*" and not hasattr(module, item) and hasattr(module, "__path__"):
                importlib.import_module(f"{module.__name__}.{item}")
        return module


class _Finder:
    """Finds the modules below this one by name."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        if not name.startswith(PREFIX):
            return None
        first, *rest = name.removeprefix(PREFIX).split(".")
        if not rest:
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [os.fsdecode(bytes.fromhex(first))]
            return spec
        file = _beside((path or [""])[0], rest[-1])
        if file is None:
            return None
        below = [str(Path(file).parent)] if file.endswith("__init__.py") else None
        return importlib.util.spec_from_file_location(
            name, file, loader=_Loader(name, file), submodule_search_locations=below
        )


sys.meta_path.insert(0, _Finder)  # before Python's own, which would also find these files
