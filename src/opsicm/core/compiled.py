"""`compiled`: numba.njit with an on-disk cache that notices an edit anywhere in the package.

Numba keys a cached function by the time stamp of its *own* file. A kernel that calls a function of another
file keeps running the old one after an edit: stale physics that looks right. So the cache folder is named by
a hash of every source that holds a kernel or is imported by one that does, however far: an edit of any of them means
a new folder, an edit of a report does not.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import config

F = TypeVar("F", bound=Callable[..., Any])
_KEPT_FOLDERS = 4
_KEPT_NOTES = 16
_MEMORY = "sources"
_DIGITS = 16
_OWN = "core.compiled"


def kernel_sources(package: Path) -> list[Path]:
    """The sources below `package` that its kernels can use, sorted.

    A kernel sees its own file and, at compile time, what that file imports: so the files that import `compiled`, and
    from there every module of the package that an import names.
    """
    texts = {path: path.read_bytes() for path in sorted(package.rglob("*.py"))}
    waiting = [path for path, text in texts.items() if b"compiled" in text and _imports(package, text) & {_OWN}]
    reached: set[Path] = {package / "__init__.py"} & texts.keys()
    while waiting:
        path = waiting.pop()
        reached.add(path)
        for module in _imports(package, texts[path]):
            place = package.joinpath(*module.split("."))
            waiting += {place.with_suffix(".py"), place / "__init__.py"} & texts.keys() - reached
    return sorted(reached)


def source_hash(package: Path) -> str:
    """SHA-256 (16 hex digits) over the relative paths and bytes of the sources that kernels of `package` can use."""
    digest = hashlib.sha256(numba.__version__.encode())
    for source in kernel_sources(package):
        digest.update(source.relative_to(package).as_posix().encode() + b"\0")
        digest.update(source.read_bytes() + b"\0")
    return digest.hexdigest()[:_DIGITS]


def remembered_hash(package: Path, memory: Path) -> str:
    """`source_hash`, looked up by the bytes of every source of `package` in the folder `memory` where they are known.

    Which sources a kernel can use takes a third of a second to parse, and every process that opens a record would.
    """
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(package.rglob("*.py")):
        digest.update(source.relative_to(package).as_posix().encode() + b"\0")
        digest.update(source.read_bytes() + b"\0")
    note = memory / digest.hexdigest()[:32]
    with contextlib.suppress(OSError):
        known = note.read_text(encoding="ascii")
        if len(known) == _DIGITS:  # not one that a crash has cut
            return known
    name = source_hash(package)
    with contextlib.suppress(OSError):
        memory.mkdir(parents=True, exist_ok=True)
        note.write_text(name, encoding="ascii")
        for old in sorted(memory.iterdir(), key=lambda one: one.stat().st_mtime)[:-_KEPT_NOTES]:
            old.unlink(missing_ok=True)
    return name


def _imports(package: Path, source: bytes) -> set[str]:
    """Modules of the package that a source names in imports, without the package's own name.

    `from package.a import b` names both `a` and `a.b`: `b` may be a module.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    own = f"{package.name}."
    return {name.removeprefix(own) for name in found if name.startswith(own)}


def _base_folder() -> Path:
    if config.CACHE_DIR:  # NUMBA_CACHE_DIR: the user has said where
        return Path(config.CACHE_DIR) / "opsicm"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "opsicm" / "numba"


@cache
def cache_folder() -> Path:
    """The folder for this version of the sources: made if need be, older ones beyond the last few removed."""
    base = _base_folder()
    name = remembered_hash(Path(__file__).parents[1], base / _MEMORY)
    try:
        (base / name).mkdir(parents=True, exist_ok=True)
        os.utime(base / name)
        if not os.access(base / name, os.W_OK):
            raise PermissionError(base)
    except OSError:  # a read-only home, as in a container: compile once per session
        return Path(tempfile.mkdtemp(prefix="opsicm-numba-"))
    folders = [folder for folder in base.iterdir() if folder.name != _MEMORY]
    for old in sorted(folders, key=lambda folder: folder.stat().st_mtime)[:-_KEPT_FOLDERS]:
        shutil.rmtree(old, ignore_errors=True)
    return base / name


def compiled(function: F) -> F:
    """Compile `function` in nopython mode, strict IEEE arithmetic, cached on disk.

    Never `fastmath`: it deletes NaN tests, and 13 of 16 384 hops then go wrong while averages look fine.
    """
    return _jit(function, forceinline=False)


def inlined(function: F) -> F:
    """As `compiled`, and always copied into its caller: a call inside a loop keeps the loop from filling SIMD lanes.

    The compiler decides by size when left alone; it then leaves out exactly the bodies that are worth vectorising.
    """
    return _jit(function, forceinline=True)


def _jit(function: F, forceinline: bool) -> F:
    before = config.CACHE_DIR
    config.CACHE_DIR = str(cache_folder())
    try:
        return cast("F", numba.njit(cache=True, error_model="numpy", forceinline=forceinline)(function))
    finally:
        config.CACHE_DIR = before
