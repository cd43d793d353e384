"""F20: one bit flipped anywhere in the log, the journal or the run file: samples, hops, slow rows, texts, facts, and
what tells where they are. Holds when there is a message, a named loss, or every number true; also of the counts that
plain HDF5 reads, without this program."""

from __future__ import annotations

import random
import shutil
import struct
import tempfile
from pathlib import Path

import h5py

from faults.f14_damaged_files import READER, RECOVERER, answers, interrupted_run, small_run
from faults.outcome import Outcome
from opsicm.record import log, text_seal

Places = dict[str, list[tuple[int, int]]]  # what → (first byte, bytes)
_PLAINLY = str(Path(__file__).with_name("read_plainly.py"))
_FRAME = struct.Struct("<4sHHQ")  # as log.py writes it
_FRAME_HEAD = 48


def places_of_log(data: bytes) -> Places:
    """The payloads of each kind of frame, and the frames' headers."""
    places: Places = {"header of a frame": []}
    at = 0
    while at < len(data):
        _, kind, _, length = _FRAME.unpack_from(data, at)
        places["header of a frame"].append((at, _FRAME_HEAD))
        if length:
            places.setdefault(log.NAMES[kind], []).append((at + _FRAME_HEAD, length))
        at += _FRAME_HEAD + length
    return places


def places_of_run_file(path: Path) -> Places:
    """The chunks of each kind of array, the texts, the seal, and anywhere."""
    places: Places = {"anywhere": [(0, path.stat().st_size)]}

    def look(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and item.chunks is not None:
            kind = name.split("/")[-1 if "samples" in name else 1]
            item.id.chunk_iter(lambda chunk: places.setdefault(kind, []).append((chunk.byte_offset, chunk.size)))

    with h5py.File(path, "r") as file:
        file.visititems(look)
        places["references to texts"] = text_seal.text_references(file)
        end = int(file.id.get_filesize())
    data, heap = path.read_bytes(), b"GCOL\x01\0\0\0"
    begins = [at for at in range(0, end, 8) if data.startswith(heap, at)]
    places["texts"] = [(at, int.from_bytes(data[at + 8 : at + 16], "little")) for at in begins]
    places["seal"] = [(end, len(data) - end)] if end < len(data) else []
    return {kind: where for kind, where in places.items() if where}


def flipped(data: bytes, places: Places, kind: str, draw: random.Random) -> tuple[bytes, str]:
    """The bytes with one bit of that kind flipped, and which."""
    begin, length = draw.choice(places[kind])
    at, bit = begin + draw.randrange(length), draw.randrange(8)
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :], f"bit {bit} of byte {at} ({kind})"


def draws(data: bytes, places: Places, n: int, draw: random.Random) -> list[tuple[bytes, str]]:
    """`n` of them, over every kind in turn."""
    kinds = sorted(places)
    return [flipped(data, places, kinds[k % len(kinds)], draw) for k in range(n)]


def folders_of(left: Path, name: str, damaged: list[tuple[bytes, str]]) -> dict[Path, str]:
    """A copy of the folder `left` for each, with file `name` damaged so."""
    folders = {}
    for k, (data, which) in enumerate(damaged):
        path = shutil.copytree(left, left.with_name(f"{name}-{k}"))
        (path / name).write_bytes(data)
        folders[path] = which
    return folders


def files_of(workspace: Path, damaged: list[tuple[bytes, str]]) -> dict[Path, str]:
    """A run file for each."""
    files = {}
    for k, (data, which) in enumerate(damaged):
        path = workspace / f"{k}.nxs"
        path.write_bytes(data)
        files[path] = which
    return files


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """200 bits in each kind of file in full, 14 in short."""
    n = 14 if short else 200
    outcomes = []
    with tempfile.TemporaryDirectory() as name:
        workspace = Path(name)
        left = interrupted_run(workspace / "interrupted")
        (log_file,) = left.glob("record-*.log")
        journal = left / "journal.jsonl"
        for path, places in (
            (log_file, places_of_log(log_file.read_bytes())),
            (journal, {"journal": [(0, journal.stat().st_size)]}),
        ):
            folders = folders_of(left, path.name, draws(path.read_bytes(), places, n, draw))
            fault = f"one bit of {path.name}, followed and recovered"
            outcomes.append(answers("F20", fault, [RECOVERER], folders, ("message", "same", "less")))
        intact = small_run(workspace / "finished")
        places = places_of_run_file(intact)
        files = files_of(workspace, draws(intact.read_bytes(), places, n, draw))
        outcomes.append(answers("F20", "one bit of run.nxs, read", [READER, str(intact)], files, ("message", "same")))
        places = {kind: places[kind] for kind in ("counts", "anywhere")}
        files = files_of(workspace, draws(intact.read_bytes(), places, n, draw))
        fault = "one bit of run.nxs, counts read with h5py alone"
        outcomes.append(answers("F20", fault, [_PLAINLY, str(intact)], files, ("message", "same")))
    return outcomes
