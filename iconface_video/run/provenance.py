"""The mark in the output's metadata: faces were restored by a generative model, with these settings.

It goes into the container's comment, the one text field that MP4, MOV and Matroska all carry, after what stood there before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from iconface_video import __version__
from iconface_video.settings import EncodeSettings, RenderSettings

_SENTENCE = "Faces in this video were restored by a generative model; details in them may be invented."
_START = f"{_SENTENCE} iconface-video "


def restoration_mark(metadata: Mapping[str, str], facts: Mapping[str, Any]) -> dict[str, str]:
    """The metadata entry to add to an output. metadata: the input's, whose comment is kept; facts: plain JSON values."""
    key = _comment_key(metadata)
    before = metadata.get(key, "")
    mark = f"{_START}{__version__} {json.dumps(dict(facts), sort_keys=True)}"
    return {key: f"{before}\n{mark}" if before else mark}


def output_mark(render: RenderSettings, encode: EncodeSettings) -> dict[str, Any]:
    """What the mark says of how the restored faces became a film."""
    return {**asdict(render), "codec": encode.codec, "crf": encode.crf, "encoder_preset": encode.preset}


def missing_mark(container: str) -> tuple[str, ...]:
    """A note for the user where a container (FFmpeg's name) has no place for the mark; else empty."""
    if container != "mpegts":
        return ()
    return (
        "MPEG-TS holds no comment: the output does not say that its faces were restored. Write .mkv or .mp4, or tell whoever gets it.",
    )


def read_restoration_marks(metadata: Mapping[str, str]) -> list[dict[str, Any]]:
    """What earlier runs wrote, oldest first: their facts and "version". Empty for a video that was never restored."""
    found = []
    for line in metadata.get(_comment_key(metadata), "").splitlines():
        _, start, rest = line.partition(_START)
        version, _, text = rest.partition(" ")
        try:
            facts = json.loads(text) if start else None
        except ValueError:
            continue
        if isinstance(facts, dict):
            found.append({**facts, "version": version})
    return found


def _comment_key(metadata: Mapping[str, str]) -> str:
    """Matroska gives it back in capitals."""
    return next((key for key in metadata if key.lower() == "comment"), "comment")
