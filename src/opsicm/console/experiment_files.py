"""The experiment files that a page may read and write: the package's, and those below one folder; never others."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Final

from opsicm.core.errors import BadInput, OpsicmError, Problem
from opsicm.core.output_file import write_output
from opsicm.experiment.file import EXPERIMENTS
from opsicm.experiment.rig_file import PRESETS
from opsicm.experiment.yaml_file import read_text
from opsicm.record.recover import is_run_folder

LONGEST_TEXT: Final = 200_000  # [bytes]: a request with it, as JSON, has at most 256 kB
_SUFFIXES: Final = (".yaml", ".yml")
_DEEPEST: Final = 4  # folders below the console's
_MOST_ENTRIES: Final = 5000  # that are looked at: the console may have been started in a home folder
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.+-]{0,99}\.ya?ml")
_SHIPPED: Final = "shipped"
_HERE: Final = "here"
_PROGRAM: Final = "program"
_OF_PROGRAM: Final = {
    "first.yaml": "the tutorial's first experiment",
    "demo.yaml": "the console's demo: images during a voltammogram",
}
_RIG_MARK: Final = b"opsicm_rig:"
_HEAD: Final = 8192  # [bytes] in which a rig file says that it is one


class NameTaken(OpsicmError):
    """A file of this name holds another text."""


class ExperimentFiles:
    """Files by names like `shipped:short/e09.yaml`, of the package, and `here:mine.yaml`, below `folder`.

    Symbolic links are followed nowhere: one could name any file of the user's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._roots = {_HERE: folder, _SHIPPED: EXPERIMENTS, _PROGRAM: Path(str(files("opsicm.console")))}

    def listed(self) -> list[dict[str, str]]:
        """Every file that can be read, by its `name`, with the `group` and `label` under which a page lists it."""
        shipped = [file.relative_to(EXPERIMENTS) for part in ("short", ".") for file in _yaml_in(EXPERIMENTS / part)]
        here = [path for path in self._below() if not _is_rig(self.folder / path)]
        return [
            *({"name": f"{_PROGRAM}:{k}", "group": "to begin with", "label": of} for k, of in _OF_PROGRAM.items()),
            *({"name": f"{_SHIPPED}:{one}", "group": "the paper's experiments", "label": str(one)} for one in shipped),
            *({"name": f"{_HERE}:{one}", "group": "this folder", "label": str(one)} for one in here),
        ]

    def rigs(self) -> list[str]:
        """What `rig:` may say in a file of the folder: the presets, and the rig files below it."""
        presets = (file.stem.replace("twin-", "twin/", 1) for file in _yaml_in(PRESETS))
        return [*presets, *(str(path) for path in self._below() if _is_rig(self.folder / path))]

    def read(self, name: str) -> str:
        """The text of a file; raises `BadInput` for one that is not listed, is gone, too long or no text."""
        path = self._path(name)
        try:
            size = path.stat().st_size
        except OSError as error:
            limit = f"cannot be read ({error.strerror})"
            raise BadInput(Problem("file", name, limit, "choose another, or load the list anew")) from error
        if size > LONGEST_TEXT:
            limit = f"a file has at most {LONGEST_TEXT} bytes in the page"
            raise BadInput(Problem("file", f"{name}, {size} bytes", limit, "run it with opsicm run"))
        return read_text(path)

    def place(self, name: str, beside: str) -> Path:
        """Where a text would be saved as `name`: in the folder of the file `beside` if that is below the folder, else
        in the folder itself, where what it names by relative paths is found. Raises `BadInput` for a name that is no
        plain file name.
        """
        if not _NAME.fullmatch(name):
            limit = "is no plain name of a file: letters, digits, space, . _ + - and .yaml at its end"
            raise BadInput(Problem("name", ascii(name[:80]), limit, "write one as height.yaml"))
        return (self._path(beside).parent if beside.startswith(f"{_HERE}:") else self.folder) / name

    def save(self, path: Path, text: str, replace: bool) -> None:
        """Write `text` to a place of `place`; raises `NameTaken` where another text is there, unless `replace`."""
        data = text.encode()
        try:
            with path.open("xb") as file:
                try:
                    file.write(data)
                except OSError:  # the disk is full
                    path.unlink()
                    raise
            return
        except FileExistsError:
            pass
        except OSError as error:
            limit = f"cannot be written ({error.strerror})"
            remedy = "choose another name, or start opsicm console in a folder that can be written"
            raise BadInput(Problem("file", path.name, limit, remedy)) from error
        if not path.is_symlink() and path.is_file() and path.read_bytes() == data:
            return
        if not replace:
            taken = Problem("name", path.name, "another text has it", "choose another name, or allow to replace it")
            raise NameTaken(taken)
        write_output(path, data, "experiment", "another name")

    def _path(self, name: str) -> Path:
        kind, _, inside = name.partition(":")
        root = self._roots.get(kind)
        parts = inside.split("/")
        plain = "\0" not in inside and all(part and not part.startswith(".") for part in parts)
        if root is None or not plain or not inside.endswith(_SUFFIXES):
            raise BadInput(Problem("file", ascii(name[:80]), "is none of the list", "choose one of the list"))
        path = root.joinpath(*parts)
        if path.resolve() != root.resolve().joinpath(*parts):
            raise BadInput(Problem("file", name, "leads elsewhere by a symbolic link", "choose one of the list"))
        return path

    def _below(self) -> Iterator[Path]:
        """YAML files below the folder, as seen from it; not those of runs, nor hidden ones."""
        ahead, looked = [(self.folder, 0)], 0
        for folder, depth in ahead:  # which grows meanwhile
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError:
                continue
            for entry in entries:
                looked += 1
                if looked > _MOST_ENTRIES:
                    return
                if entry.name.startswith(".") or entry.is_symlink():
                    continue
                path = Path(entry.path)
                if entry.is_dir():
                    if depth < _DEEPEST and not is_run_folder(path):
                        ahead.append((path, depth + 1))
                elif entry.is_file() and path.suffix in _SUFFIXES:
                    yield path.relative_to(self.folder)


def _yaml_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.yaml"))


def _is_rig(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return head.startswith(_RIG_MARK) or b"\n" + _RIG_MARK in head
