"""What is said between the one who hands out segments and those who restore them."""

from __future__ import annotations

from dataclasses import dataclass, field

from iconface_video.errors import IconFaceError
from iconface_video.restore.timeline import SegmentDone
from iconface_video.session.engines.job import ModelFacts, RestoreJob

# ---- to a worker


@dataclass(frozen=True)
class Open:
    """Work on this clip from now on."""

    job: RestoreJob


@dataclass(frozen=True)
class Restore:
    """One segment of the open clip, please."""

    index: int


Command = Open | Restore

# ---- from a worker


@dataclass(frozen=True)
class Ready:
    """The model is loaded."""

    facts: ModelFacts


@dataclass(frozen=True)
class Opened:
    """The clip is open."""


@dataclass(frozen=True)
class Faces:
    """So many faces of the segment at work are done."""

    done: int


@dataclass(frozen=True)
class Piece:
    """Part of a finished segment's file, on its way to a machine that does not share the crop store."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Done:
    """The segment stands whole in the crop store that the worker was given."""

    segment: SegmentDone
    checksums: dict[str, str] = field(default_factory=dict)
    """File name -> checksum, where `Piece`s went before."""


@dataclass(frozen=True)
class Refused:
    """The work itself is wrong (a damaged input, a full disk, an option): another worker would say the same."""

    error: IconFaceError


@dataclass(frozen=True)
class Broken:
    """Something failed that may go well elsewhere; this worker ends."""

    reason: str


@dataclass(frozen=True)
class Died:
    """Said by whoever watches the worker: it is no more."""

    reason: str


Message = Ready | Opened | Faces | Piece | Done | Refused | Broken | Died
