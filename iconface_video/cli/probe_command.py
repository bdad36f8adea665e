"""`iconface-video probe`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iconface_video.cli.display import counted, print_json, print_rows
from iconface_video.cli.options import present

if TYPE_CHECKING:
    from iconface_video.types import VideoInfo

_RANGES = {0: "not stated", 1: "limited", 2: "full"}
_SCANS = {"tt": "interlaced, top field first", "bb": "interlaced, bottom field first", "progressive": "progressive"}


def probe_file(
    input: Annotated[Path, typer.Argument(metavar="INPUT", help="The video.")],
    kind: Annotated[
        bool,
        typer.Option(
            "--kind", help="Also look at the picture: tape, film, a camera or phone, broadcast; and why; which preset."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Show what is in a video file, and whether its faces were restored before.

    Examples:

      iconface-video probe tape.mp4

      iconface-video probe --kind tape.mp4

      iconface-video probe --json tape.mp4
    """
    from iconface_video.run.provenance import read_restoration_marks
    from iconface_video.video.kind import kind_of
    from iconface_video.video.probe import probe

    info = probe(present(input, "video"))
    marks = read_restoration_marks(info.metadata)
    verdict = kind_of(info) if kind else None
    if as_json:
        looks = {} if verdict is None else {"kind": {**asdict(verdict), "preset": verdict.preset}}
        print_json({**_plain(asdict(info)), "restorations": marks, **looks})
    else:
        looks_like = [] if verdict is None else [("looks like", verdict.sentence), ("preset", verdict.preset)]
        print_rows([*_rows(info, marks), *looks_like], title=str(input))


def _rows(info: VideoInfo, marks: list[dict[str, Any]]) -> list[tuple[str, str]]:
    width, height = info.display_size
    shown = f", shown as {width}x{height}" if (width, height) != (info.width, info.height) else ""
    turned = f", turned by {info.rotation} degrees" if info.rotation else ""
    turned += ", mirrored" if info.is_mirrored else ""
    rate = "not stated" if info.average_rate is None else f"{float(info.average_rate):.3f} a second"
    count = "" if info.frame_count_declared is None else f", {info.frame_count_declared} according to the header"
    color = info.color
    rows = [
        ("container", info.container),
        ("video", f"{info.codec}, {info.width}x{info.height} {info.pix_fmt} ({info.bit_depth} bit){shown}{turned}"),
        ("frames", f"{rate}{' on average (variable rate)' if info.is_vfr else ''}{count}"),
        ("length", "not stated" if info.duration_seconds is None else f"{info.duration_seconds:.3f} s"),
        ("scan", _SCANS.get(info.field_order, f"interlaced ({info.field_order})" if info.field_order != "unknown" else "not stated")),
        ("color", f"range {_RANGES.get(color.range, str(color.range))}, matrix {color.space}, primaries {color.primaries}, "
                  f"transfer {color.transfer} (codes of ITU-T H.273)"),
    ]  # fmt: skip
    for stream in info.streams:
        parts = [stream.codec, stream.detail, stream.language or ""]
        rows.append((stream.kind, ", ".join(part for part in parts if part)))
    if info.chapter_count:
        rows.append(("chapters", counted(info.chapter_count, "chapter")))
    for mark in marks:
        facts = ", ".join(f"{name} {value}" for name, value in mark.items() if name != "version" and value is not None)
        rows.append(("restored", f"faces were restored by a generative model: iconface-video {mark['version']} ({facts})"))
    return rows


def _plain(value: Any) -> Any:
    """Fractions as "25/1", paths as text."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
