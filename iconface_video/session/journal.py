"""The journal of a work folder: what is done, made from what, with checksums; a run that was killed goes on from it.

``journal.jsonl`` is appended to, a line at a time, each synced to the disk before the work goes on: the CRC-32 of the rest of
the line, then a JSON object. Each line stands for itself: one that is torn or damaged takes no other along. Where there is one,
the file is written anew, whole, before it is added to.

An entry {"done": "kind of recording" | "survey" | "anchors", "parts": ..., "files": ...} says that a stage is done. {"begun": "segments", "parts": ...}
says that segments follow, each as {"segment": n, "of": fingerprint of the parts, "files": ..., "counts": ...}; they count until
segments of other parts begin.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from iconface_video.errors import StoreError
from iconface_video.files import checksum, write_whole
from iconface_video.session.fingerprint import differences, fingerprint, plain
from iconface_video.session.run_report import RunReport

VERSION = 2
JOURNAL = "journal.jsonl"
KIND = "kind of recording"
"""A stage of its own: what the preset was chosen by."""
_SEGMENTS = "segments"
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)

Parts = Mapping[str, Any]
"""What a stage's result depends on: plain values, nested by name."""


class Journal:
    """The journal of one folder. Files are named relative to that folder.

    Whoever writes holds the folder's lock.
    """

    def __init__(self, folder: Path) -> None:
        """Reads what is there; nothing is written before the first new entry. Raises StoreError where it cannot be read."""
        self._folder = folder
        self._path = folder / JOURNAL
        self._bytes = 0
        """Of the file, as far as it is whole."""
        self._damaged = 0
        """Lines whose content is lost."""
        self.notes: list[str] = []
        """What a person should know about what was not taken from it, in order."""
        self._entries = self._read()
        begun = self._begun
        self._segments_of = "" if begun is None else fingerprint(**begun["parts"])
        """Fingerprint that segments are noted with."""

    @property
    def is_empty(self) -> bool:
        """Nothing worth keeping was done yet."""
        return all(entry.get("done") == KIND for entry in self._entries) and not self._damaged

    def take_notes(self) -> list[str]:
        """The notes so far, each given once."""
        notes, self.notes = self.notes, []
        return notes

    def finish(self, stage: str, parts: Parts, files: Iterable[str], **facts: Any) -> None:
        """A stage is done; its files stand whole on the disk. facts: plain values, given back by `find`."""
        self._append({"done": stage, "parts": plain(parts), "files": self._sums(files), "facts": facts})

    def find(self, stage: str, parts: Parts) -> dict[str, Any] | None:
        """The facts of a stage that was done from the same parts and whose files are unharmed; else None, and a note why."""
        entry = next((item for item in reversed(self._entries) if item.get("done") == stage), None)
        if entry is None:
            return None
        if not self._is_of(entry, parts, stage):
            return None
        if not self._is_whole(entry["files"]):
            self.notes.append(
                f"the {stage} kept from an earlier run {'are damaged: they are' if stage.endswith('s') else 'is damaged: it is'} made again"
            )
            return None
        return dict(entry["facts"])

    def begin_segments(self, parts: Parts) -> dict[int, dict[str, Any]]:
        """Segments restored from these parts are about to follow. Returns the counts of those that are there, by index.

        Segments of other parts are forgotten; damaged ones are not among the result; notes say so.
        """
        self._segments_of = fingerprint(**parts)
        begun = self._begun
        done = self._latest_segments(self._segments_of)
        if begun is None or (not done and not self._is_of(begun, parts, "restored faces")):
            self._append({"begun": _SEGMENTS, "parts": plain(parts)})
        whole = {index: entry for index, entry in done.items() if self._is_whole(entry["files"])}
        damaged = sorted(set(done) - set(whole))
        if damaged:
            which = ", ".join(map(str, damaged))
            self.notes.append(f"segment{'s' if len(damaged) > 1 else ''} {which} damaged in the store: made again")
        return {index: dict(entry["counts"]) for index, entry in whole.items()}

    def finish_segment(self, index: int, files: Iterable[str], counts: Mapping[str, Any]) -> None:
        """A segment's files stand whole on the disk. Comes after `begin_segments`."""
        sums = self._sums(files)
        self._append({"segment": index, "of": self._segments_of, "files": sums, "counts": dict(counts)})

    def finish_output(self, path: Path, identity: str, report: RunReport) -> None:
        """The output is whole and about to get its name. identity: `hash_file` of it."""
        self._append({"output": str(path.absolute()), "identity": identity, "report": report.to_dict()})

    @property
    def output(self) -> tuple[str, str] | None:
        """(path, identity) of an output that was whole when the run was killed before its end; else None."""
        last = self._entries[-1] if self._entries and not self._damaged else {}
        return (last["output"], last["identity"]) if "output" in last else None

    @property
    def report(self) -> RunReport | None:
        """Of the run that made `output`."""
        return None if self.output is None else RunReport.from_dict(self._entries[-1]["report"])

    @property
    def was_complete(self) -> bool:
        """A run came to its end here before."""
        return any("complete" in item for item in self._entries)

    def complete(self) -> None:
        """The run came to its end and the folder is kept on purpose."""
        self._append({"complete": True})

    @property
    def _begun(self) -> dict[str, Any] | None:
        return next((item for item in reversed(self._entries) if item.get("begun") == _SEGMENTS), None)

    def _latest_segments(self, made_from: str) -> dict[int, dict[str, Any]]:
        """Those of this fingerprint since others were begun, by index."""
        found: dict[int, dict[str, Any]] = {}
        for item in reversed(self._entries):
            if "segment" in item and item["of"] == made_from:
                found.setdefault(item["segment"], item)
            elif "segment" in item or ("begun" in item and fingerprint(**item["parts"]) != made_from):
                break
        return dict(sorted(found.items()))

    def _is_of(self, entry: Mapping[str, Any], parts: Parts, what: str) -> bool:
        if fingerprint(**entry["parts"]) == fingerprint(**parts):
            return True
        changed = ", ".join(differences(entry["parts"], parts))
        self.notes.append(f"the {what} of an earlier run {'are' if what.endswith('s') else 'is'} not used: changed {changed}")
        return False

    def _sums(self, files: Iterable[str]) -> dict[str, str]:
        try:
            return {name: checksum(self._folder / name) for name in files}
        except OSError as error:
            raise StoreError(f"{error.filename}: cannot be read back ({error.strerror})") from error

    def _is_whole(self, files: Mapping[str, str]) -> bool:
        try:
            return all(checksum(self._folder / name) == known for name, known in files.items())
        except OSError:
            return False

    def _append(self, entry: dict[str, Any]) -> None:
        begin = [] if self._bytes else [{"journal": VERSION}, *self._entries]
        data = b"".join(_line(item) for item in [*begin, entry])
        try:
            if self._bytes == 0:
                write_whole(self._path, lambda file: file.write(data))
            else:
                self._write_on(data)
        except OSError as error:
            raise StoreError(
                f"{self._path}: cannot be written ({error.strerror}). Free some space; the same command goes on from here."
            ) from error
        self._entries.append(entry)
        self._bytes += len(data)

    def _write_on(self, data: bytes) -> None:
        descriptor = os.open(self._path, _APPEND, 0o644)
        try:
            os.ftruncate(descriptor, self._bytes)  # away with a torn line of our own
            _write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _read(self) -> list[dict[str, Any]]:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"{self._path}: cannot be read ({error.strerror})") from error
        lines = data.splitlines(keepends=True)
        entries = [entry for entry in map(_entry, lines) if entry is not None]
        is_torn = bool(lines) and not lines[-1].endswith(b"\n")
        self._damaged = len(lines) - len(entries) - is_torn
        versions = [entry.get("journal") for entry in entries if "journal" in entry]
        if versions and versions[0] != VERSION:
            self.notes.append("the work of an earlier run is not used: another version of this program kept it")
            return []
        if self._damaged:
            which = f"{self._damaged} of {len(lines)} lines"
            self.notes.append(f"the journal of an earlier run is damaged ({which}): what it told there is made again")
        elif not is_torn:
            self._bytes = len(data)  # else the first new entry writes it anew
        return [entry for entry in entries if "journal" not in entry]


def _line(entry: Mapping[str, Any]) -> bytes:
    text = json.dumps(entry, sort_keys=True).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _entry(line: bytes) -> dict[str, Any] | None:
    """None for a line that is torn or damaged."""
    known, space, text = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or not space or known != b"%08x" % zlib.crc32(text):
        return None
    entry = json.loads(text)
    return entry if isinstance(entry, dict) else None


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
