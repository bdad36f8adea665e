"""What travels between stages: frozen values that three or more stages share.

Coordinates. *Frame space* is the picture as the decoder stores it (not rotated, its own pixel shape): planes, boxes that
are read or written, and ``crop_from_frame`` live there. *Display space* is the upright picture with square pixels that a
person sees: detections, tracks and smoothing live there. ``VideoInfo.display_from_frame`` leads from one to the other.
Pixel centres are at integer coordinates (OpenCV's convention); boxes are x0, y0, x1, y1 with exclusive edges.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
UInt8 = NDArray[np.uint8]

EMBEDDING_SIZE = 512
"""Length of an identity embedding."""


@dataclass(frozen=True, slots=True, order=False)
class Timestamp:
    """When a frame is shown, exact."""

    pts: int
    """Presentation time in ticks of `time_base`; may be negative or start above 0."""
    time_base: Fraction
    """Length of one tick in seconds, e.g. Fraction(1, 90000)."""

    @property
    def seconds(self) -> Fraction:
        """Seconds, exact; turn it into a float only to show it to a person."""
        return self.pts * self.time_base


@dataclass(frozen=True, slots=True)
class ColorTags:
    """Colour description as FFmpeg's numeric codes (ITU-T H.273), copied from input to output untouched. 2 is "unspecified"."""

    range: int = 0
    """AVCOL_RANGE: 0 unspecified, 1 limited (MPEG), 2 full (JPEG)."""
    space: int = 2
    """Matrix coefficients: 1 BT.709, 5/6 BT.601, 9 BT.2020 NCL ..."""
    primaries: int = 2
    transfer: int = 2
    chroma_location: int = 0
    """AVCHROMA_LOC: 0 unspecified, 1 left, 2 centre, 3 top-left."""


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """One stream of the container beside the video that is restored."""

    index: int
    kind: str
    """"audio", "subtitle", "data", "attachment", or "video" (cover art, further video streams)."""
    codec: str
    language: str | None = None
    detail: str = ""
    """For people: "48000 Hz stereo"."""


@dataclass(frozen=True, slots=True)
class ClockReset:
    """Where the recorder's clock starts anew inside a file, as in two recordings that were joined."""

    pts: int
    """When the first frame behind it is shown, by the clock that goes on: all times of frames are told by that one."""
    offset: int
    """Ticks of the film that are added to the container's times from here on, until the next reset."""
    position: int
    """Byte of the file from which on this counts for streams that are not in `starts`."""
    starts: tuple[tuple[int, int], ...] = ()
    """(stream index, byte of its first packet by the new clock)."""


@dataclass(frozen=True)
class VideoInfo:
    """What `probe` found. Header values and counted values have different names, so that nobody trusts a header by accident."""

    path: Path
    container: str
    """FFmpeg's format name, e.g. "mov,mp4,m4a,3gp,3g2,mj2"."""
    codec: str
    width: int
    """px, as stored (frame space)."""
    height: int
    pix_fmt: str
    time_base: Fraction
    """Of the video stream: seconds per tick."""
    average_rate: Fraction | None
    """Frames per second on average; None where the file does not say. Never used for timing."""
    is_vfr: bool
    """True when the first frames' intervals differ."""
    first_pts: int
    """PTS of the first frame that is shown."""
    duration_seconds: float | None
    """Declared; None: not stated."""
    frame_count_declared: int | None
    """Frames according to the header; often wrong in captures of tape. None: not stated."""
    sample_aspect_ratio: Fraction
    """Width : height of one pixel; 1 for square."""
    rotation: int
    """Degrees clockwise (0, 90, 180, 270) by which the stored picture is turned for display, before it may be mirrored."""
    color: ColorTags
    bit_depth: int
    field_order: Literal["progressive", "tt", "bb", "tb", "bt", "unknown"]
    """As flagged by the stream or its first frames ("tt": top field first)."""
    streams: tuple[StreamInfo, ...] = ()
    chapter_count: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    stream_index: int = 0
    """Of the video stream inside the container."""
    display_matrix: tuple[int, ...] | None = None
    """The container's nine numbers (FFmpeg's AV_PKT_DATA_DISPLAYMATRIX) behind `rotation`; None where it has none."""
    clock_resets: tuple[ClockReset, ...] = ()
    """In file order; found in containers that carry a recorder's clock (MPEG transport and program streams) only."""
    film_share: float = 1.0
    """Where in the file the film's last packet begins, 0..1; looked at in the same containers only, and 1 where little follows."""
    counts_fields: bool = False
    """Ticks are halves of the film's own, and pictures are fields: see `video.fields`. Never of `probe` itself."""

    @property
    def is_mirrored(self) -> bool:
        """Whether left and right are swapped for display, after the turn."""
        return self.display_matrix is not None and mirrors(self.display_matrix)

    @property
    def display_size(self) -> tuple[int, int]:
        """(width, height) in display space: square pixels, upright."""
        width = max(1, round(self.width * float(self.sample_aspect_ratio)))
        return (self.height, width) if self.rotation in (90, 270) else (width, self.height)

    @property
    def display_from_frame(self) -> Float64:
        """(2, 3) affine from frame space to display space (pixel centres at integers)."""
        stretch = max(1, round(self.width * float(self.sample_aspect_ratio))) / self.width
        wide, high = self.width * stretch, float(self.height)
        to_square = np.array([[stretch, 0.0, 0.5 * stretch - 0.5], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        turn = {
            0: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
            90: [[0.0, -1.0, high - 1], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]],
            180: [[-1.0, 0.0, wide - 1], [0.0, -1.0, high - 1], [0.0, 0.0, 1.0]],
            270: [[0.0, 1.0, 0.0], [-1.0, 0.0, wide - 1], [0.0, 0.0, 1.0]],
        }[self.rotation]
        mirror = np.diag([-1.0, 1.0, 1.0]) if self.is_mirrored else np.eye(3)
        mirror[0, 2] = self.display_size[0] - 1.0 if self.is_mirrored else 0.0
        return (mirror @ np.array(turn) @ to_square)[:2]


def mirrors(matrix: tuple[int, ...]) -> bool:
    """Whether a display matrix (nine numbers, see `VideoInfo.display_matrix`) turns the picture's handedness over."""
    return matrix[0] * matrix[4] - matrix[1] * matrix[3] < 0


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded picture with its timestamp. Keeps the decoder's own planes: a frame is NOT an RGB picture.

    ``video.color`` converts boxes of it to RGB and back.
    """

    pts: int
    time_base: Fraction
    duration: int
    """Ticks that the frame is shown; 0 where the container does not say."""
    planes: tuple[NDArray[np.generic], ...]
    """Per component, uint8 or uint16 (low bits used, native endian), no padding: Y, Cb, Cr (, A) or G, B, R."""
    pix_fmt: str
    """FFmpeg's name of the planar format that `planes` are in."""
    width: int
    height: int
    color: ColorTags
    index: int
    """0-based position in presentation order of what was decoded; for people and arrays, not for identity."""
    is_corrupt: bool = False
    """The decoder concealed damage."""
    side_data: tuple[object, ...] = ()
    """Opaque to all but the writer (HDR metadata and the like)."""

    @property
    def timestamp(self) -> Timestamp:
        return Timestamp(self.pts, self.time_base)

    def __repr__(self) -> str:
        return f"Frame({self.index}, pts={self.pts}, {self.width}x{self.height} {self.pix_fmt})"


@dataclass(frozen=True, eq=False)
class Detection:
    """One face found in one picture, in that picture's pixels."""

    box: Float32
    """(4,) x0, y0, x1, y1, edges exclusive."""
    score: float
    """0..1."""
    landmarks: Float32
    """(5, 2) px: eyes, nose tip, mouth corners, left to right as the viewer sees them."""

    def __post_init__(self) -> None:
        if self.box.shape != (4,) or self.landmarks.shape != (5, 2):
            raise ValueError(
                f"a detection has a (4,) box and (5, 2) landmarks, got {self.box.shape} and {self.landmarks.shape}"
            )


@dataclass(frozen=True)
class Shot:
    """Frames of one uninterrupted take: PTS first..last, both inclusive."""

    index: int
    first_pts: int
    last_pts: int


@dataclass(frozen=True, eq=False)
class Track:
    """One face through one shot. Arrays have one row per frame in which the face is restored, in presentation order."""

    track_id: int
    """Unique within one survey; for people and file names, never for noise or seeds."""
    shot: int
    birth_pts: int
    """PTS of the first detection: with the shot's first PTS and `birth_order` the track's key."""
    birth_order: int
    """0-based, left to right, among the tracks born in the same frame."""
    pts: NDArray[np.int64]
    """(n,) ticks."""
    boxes: Float32
    """(n, 4) display px."""
    landmarks: Float32
    """(n, 5, 2) display px; interpolated where the face was not detected."""
    scores: Float32
    """(n,) detector score; 0 where interpolated."""
    parameters: Float64
    """(n, 4) smoothed crop similarity, display px -> template: log-scale, angle (rad), x, y; see `faces.align`."""
    quality: Float32
    """(n,) usefulness as evidence, 0..1; 0 where interpolated."""
    fade: Float32
    """(n,) mask weight of the frame, 0..1: rises over the first frames of a track and falls over the last."""
    embeddings: Float32
    """(m, 512) raw identity embeddings of sampled frames (the norm is the reliability)."""
    embedding_pts: NDArray[np.int64]
    """(m,) where they were taken."""
    sharpness: Float32
    """(n,) Laplacian deviation of the aligned crop's middle, grey levels; 0 where interpolated."""
    person: int | None = None
    """Index of the person it belongs to; None: not grouped yet."""

    def __len__(self) -> int:
        return len(self.pts)

    def __repr__(self) -> str:
        return f"Track({self.track_id}, shot={self.shot}, frames={len(self)}, pts={self.pts[0]}..{self.pts[-1]})"


@dataclass(frozen=True)
class TrackKey:
    """What names a track for noise and seeds: the same for the same face however many others were found before it."""

    shot_first_pts: int
    birth_pts: int
    birth_order: int


@dataclass(frozen=True, eq=False)
class IdentityAnchor:
    """Trusted identity direction of a person or a track (IConFace eq. 3-4), with the pictures it stands on."""

    direction: Float32
    """(512,) unit vector."""
    reliability: float
    """Embedding norm, weighted like the direction."""
    weights: Float32
    """(k,) of the sources, sum 1."""
    references: tuple[UInt8, ...]
    """Aligned pictures, each uint8 (S, S, 3) RGB in the FFHQ frame, best first; given to the model as reference tokens."""
    origin: Literal["user", "track", "self"]
    """user: photos that the user gave; track: its own cleanest frames; self: the degraded face (weak fallback, no references)."""
    reference_landmarks: Float32 | None = None
    """(R, 5, 2) of the references, each in pixels of any picture of its own; None: not known, all are always shown."""
    shown: int = 16
    """How many references the model is shown at a time (`identity.photo_choice`)."""

    def __repr__(self) -> str:
        return f"IdentityAnchor({self.origin}, reliability={self.reliability:.2f}, references={len(self.references)})"


@dataclass(frozen=True)
class Segment:
    """Our unit of work and resume: a PTS range inside the clip."""

    index: int
    first_pts: int
    last_pts: int
    """Inclusive."""


@dataclass(frozen=True, eq=False)
class Survey:
    """Findings of the first pass."""

    info: VideoInfo
    shots: tuple[Shot, ...]
    tracks: tuple[Track, ...]
    frame_count: int
    """Frames really decoded."""
    first_pts: int
    last_pts: int
    skipped: dict[str, int] = field(default_factory=dict)
    """Faces seen but not tracked, by reason ("too small": 12)."""

    def key_of(self, track: Track) -> TrackKey:
        return TrackKey(self.shots[track.shot].first_pts, track.birth_pts, track.birth_order)


@dataclass(frozen=True)
class Progress:
    """One progress event. Callbacks receive these; printing is the command line's business."""

    stage: Literal["survey", "anchors", "learn", "restore", "render", "train", "evaluate"]
    done: int
    total: int | None
    """None: not known."""
    unit: str = "frames"
    message: str = ""
