"""What the third step hands on: which faces stand in the crop store, restored with what; and the store's header that says so."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from iconface_video.errors import StoreError
from iconface_video.restore.crop_store import STORE_FILE, SegmentCrops, StoreHeader, read_header, write_header
from iconface_video.restore.face_model import FaceModel, neighbours_of
from iconface_video.restore.plan import RestorePlan
from iconface_video.restore.timeline import TimelineCounts
from iconface_video.session.clip import Clip
from iconface_video.session.engines.job import ModelFacts
from iconface_video.session.rendering import Rendering
from iconface_video.session.work import CROPS
from iconface_video.settings import EARLIER_FIELDS, Fields, ReadSettings
from iconface_video.types import ColorTags, IdentityAnchor, Segment, VideoInfo
from iconface_video.video.display_light import SHOWN_LIGHT, display_light
from iconface_video.video.fields import INTERLACED_ORDERS
from iconface_video.video.scan import Scan

_ABOUT_AS_FINE = 0.05
_PLACES = ("start_pts", "end_pts", "frames")


@dataclass(frozen=True, eq=False)
class Restored:
    """Faces in the crop store."""

    segments: tuple[Segment, ...]
    """Of the whole clip."""
    made_from: str
    """Fingerprint of all that the faces depend on."""
    restored_with: Mapping[str, Any] = field(default_factory=dict)
    """For the mark in the output's metadata; empty where no face is restored."""
    left_alone: Mapping[str, int] = field(default_factory=dict)
    """Faces (track frames) that the model does not touch, by reason."""
    counts: TimelineCounts = field(default_factory=TimelineCounts)

    def begin(self, rendering: Rendering, there: Collection[int] | None = None) -> None:
        """there: indices of the segments that stand in the store already; None: all."""
        standing = [segment.index for segment in self.segments] if there is None else there
        rendering.begin(self.segments, standing, self.restored_with)


def restored_with(
    plan: RestorePlan, anchors: Collection[IdentityAnchor], mark: Mapping[str, Any], model: FaceModel | ModelFacts
) -> dict[str, Any]:
    """What restores the faces, in plain values; empty where none is restored. mark: of `Provenance.faces_mark`."""
    if not plan.crops_by_size():
        return {}
    helped = len({anchor.direction.tobytes() for anchor in anchors if anchor.origin == "user"})
    return {
        "model": model.name,
        **mark,
        "crop_sizes": sorted(plan.crops_by_size()),
        "neighbours": neighbours_of(model),
        "people_with_photos": helped,
    }


def write_store_header(crops: Path, clip: Clip, restored: Restored, frames: int, seed: int, scale: float) -> None:
    """scale: of the output that the crops were chosen for. What rendering again needs to know of the clip and of the faces that are about to stand in the store."""
    facts = {
        "model": restored.restored_with.get("model"),
        "seed": seed,
        "fields": clip.reader.settings.fields,
        "scan": None if clip.reader.scan is None else clip.reader.scan.to_dict(),
        "start_pts": None if clip.start is None else clip.start.pts,
        "end_pts": None if clip.end is None else clip.end.pts,
        "frames": frames,
        "light": SHOWN_LIGHT,
        "scale": scale,
        "content": clip.reader.file.identity(),
        "restored_with": dict(restored.restored_with),
    }
    write_header(crops, StoreHeader(restored.made_from, str(clip.info.path.absolute()), restored.segments, facts))


def _is_scan(known: object) -> bool:
    try:
        return known is None or (isinstance(known, dict) and bool(Scan.from_dict(known).stretches))
    except (KeyError, TypeError):
        return False


@dataclass(frozen=True)
class KeptFaces:
    """A kept store, as its header tells of it."""

    crops: Path
    header: StoreHeader

    @classmethod
    def read(cls, work: Path) -> KeptFaces:
        """work: a work folder, or the store in it. Raises StoreError where there is none, or it is damaged."""
        crops = work / CROPS if (work / CROPS).is_dir() else work
        header = read_header(crops)
        missing = [name for name in _PLACES if name not in header.facts]
        if header.facts.get("fields") not in get_args(Fields) and header.facts.get("deinterlace") not in EARLIER_FIELDS:
            missing.append("fields")
        if not _is_scan(header.facts.get("scan")):
            missing.append("scan")
        places = [header.facts.get(name) for name in _PLACES]
        if missing or any(place is not None and type(place) is not int for place in places):
            raise StoreError(f"{crops / STORE_FILE}: damaged: what it says of the clip is incomplete")
        return cls(crops, header)

    @property
    def input(self) -> Path:
        """Where the video was."""
        return Path(self.header.input)

    @property
    def content(self) -> str | None:
        """The video's identity; a store of the first releases does not tell."""
        return self.header.facts.get("content")

    def read_settings(self, film: VideoInfo) -> ReadSettings:
        """How the video was read; in earlier stores by `deinterlace`, of which "auto" meant an interlaced film's frames through bwdif."""
        if "fields" in self.header.facts:
            return ReadSettings(self.header.facts["fields"])
        earlier = self.header.facts["deinterlace"]
        is_interlaced = film.field_order in INTERLACED_ORDERS
        return ReadSettings("half" if earlier == "auto" and is_interlaced else EARLIER_FIELDS[earlier])

    @property
    def scan(self) -> Scan | None:
        """What was found of an interlaced film's fields."""
        known = self.header.facts.get("scan")
        return None if known is None else Scan.from_dict(known)

    @property
    def part(self) -> tuple[int | None, int | None]:
        """PTS, [start, end); None: the file's own."""
        return self.header.facts["start_pts"], self.header.facts["end_pts"]

    @property
    def frames(self) -> int | None:
        return self.header.facts["frames"]

    def coarse_crops(self, scale: float) -> tuple[int, int]:
        """(faces that have fewer px than they take up in an output so much larger, all faces). Raises StoreError."""
        coarse = whole = 0
        for segment in self.header.segments:
            px = SegmentCrops(self.crops, segment.index).px_per_frame_px
            coarse, whole = coarse + int((px < scale * (1 - _ABOUT_AS_FINE)).sum()), whole + len(px)
        return coarse, whole

    def check_light(self, color: ColorTags) -> None:
        """Raises StoreError where faces of an HDR video were kept in its own codes, as the first releases did."""
        if display_light(color) is not None and self.header.facts.get("light") != SHOWN_LIGHT:
            raise StoreError(
                f"{self.crops}: an earlier release kept these faces of an HDR video in a form that is no longer used. Restore them again."
            )

    @property
    def scale(self) -> float:
        """Of the output that the crops were chosen for."""
        return float(self.header.facts.get("scale", 1.0))

    @property
    def restored(self) -> Restored:
        with_what = self.header.facts.get("restored_with") or {}
        return Restored(self.header.segments, self.header.fingerprint, with_what)


def expected_time(model: FaceModel | ModelFacts, plan: RestorePlan) -> tuple[str, ...]:
    """What a large model in this process says of the work before it; nothing of others."""
    expected = getattr(model, "expected_time", None)
    said = None if expected is None else expected(plan.crops_by_size())
    return () if said is None else (said,)
