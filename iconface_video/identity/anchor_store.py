"""Anchors in a folder, so that a run can go on after a crash and workers elsewhere can share them. Nothing is pickled.

anchors.npz    the arrays, named "<number>.direction", "<number>.weights", "<number>.reference.<k>"
anchors.json   each anchor's tracks and small fields, and the checksum of anchors.npz; written last
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from iconface_video.durable import checksum, write_whole
from iconface_video.errors import StoreError
from iconface_video.types import IdentityAnchor

FORMAT = 1
ANCHOR_FILES = ("anchors.npz", "anchors.json")
_ARRAYS, _SUMMARY = ANCHOR_FILES


def save_anchors(anchors: Mapping[int, IdentityAnchor], folder: Path) -> None:
    """Write the anchors by track id; older ones in the same folder are replaced. Raises StoreError when it cannot be written."""
    folder = Path(folder)
    entries: dict[int, dict[str, Any]] = {}
    arrays: dict[str, Any] = {}
    for track_id in sorted(anchors):
        anchor = anchors[track_id]
        if id(anchor) not in entries:
            number = len(entries)
            arrays[f"{number}.direction"], arrays[f"{number}.weights"] = anchor.direction, anchor.weights
            arrays.update({f"{number}.reference.{k}": picture for k, picture in enumerate(anchor.references)})
            facts = {"reliability": anchor.reliability, "origin": anchor.origin, "references": len(anchor.references)}
            entries[id(anchor)] = {**facts, "tracks": []}
        entries[id(anchor)]["tracks"].append(track_id)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / _ARRAYS, lambda file: np.savez(file, allow_pickle=False, **arrays))
        content = json.dumps({"anchors": list(entries.values()), "arrays": checksum(folder / _ARRAYS)})
        summary = {"format": FORMAT, "checksum": zlib.crc32(content.encode()), "content": content}
        write_whole(folder / _SUMMARY, lambda file: file.write(json.dumps(summary, indent=1).encode()))
    except OSError as error:
        reason = error.strerror or error
        raise StoreError(f"{folder}: the anchors cannot be written there ({reason}). Choose another work folder.") from error


def load_anchors(folder: Path) -> dict[int, IdentityAnchor]:
    """What `save_anchors` wrote, to the bit; tracks that shared an anchor share one object again.

    Raises StoreError when there is nothing, or it is damaged or of another version.
    """
    folder = Path(folder)
    try:
        summary = json.loads((folder / _SUMMARY).read_bytes())
        if summary["format"] != FORMAT:
            raise StoreError(f"{folder}: its anchors have format {summary['format']!r}, this program reads format {FORMAT}.")
        if zlib.crc32(summary["content"].encode()) != summary["checksum"]:
            raise ValueError("checksum of anchors.json")
        content = json.loads(summary["content"])
        data = (folder / _ARRAYS).read_bytes()
        if checksum(folder / _ARRAYS) != content["arrays"]:
            raise ValueError("checksum of anchors.npz")
        anchors: dict[int, IdentityAnchor] = {}
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            for number, entry in enumerate(content["anchors"]):
                anchor = _anchor(number, entry, arrays)
                anchors.update({track_id: anchor for track_id in entry["tracks"]})
        return dict(sorted(anchors.items()))
    except FileNotFoundError as error:
        raise StoreError(f"{folder}: no anchors there, {error.filename} is missing.") from error
    except StoreError:
        raise
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{folder}: its anchors are damaged ({error}); they have to be made again.") from error


def _anchor(number: int, entry: Mapping[str, Any], arrays: Mapping[str, Any]) -> IdentityAnchor:
    return IdentityAnchor(
        direction=arrays[f"{number}.direction"],
        reliability=entry["reliability"],
        weights=arrays[f"{number}.weights"],
        references=tuple(arrays[f"{number}.reference.{k}"] for k in range(entry["references"])),
        origin=entry["origin"],
    )
