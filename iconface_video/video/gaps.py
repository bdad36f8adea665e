"""Pictures that never came out of the decoder: which ones, so that each can be stood in for and counted."""

from __future__ import annotations

import heapq

import av
from av.packet import Packet

from iconface_video.types import ColorTags
from iconface_video.video.planes import picture_of, planar_name, planes_of

_ONE_PICTURE_A_PACKET = frozenset(
    {
        "h264",
        "hevc",
        "mpeg1video",
        "mpeg2video",
        "mjpeg",
        "prores",
        "dnxhd",
        "dvvideo",
        "ffv1",
        "rawvideo",
        "huffyuv",
        "utvideo",
    }
)
"""Codecs that hide no pictures: a packet without one is a loss. (VP8 and packed MPEG-4 have packets that show nothing.)"""
_NEAR_DAMAGE = 64
"""Pictures after an error in which missing ones are put down to it."""
_LONGEST_GAP = 250
"""Pictures; more than that is a wrong time stamp, or no film is left that could be followed."""
_SILENT_SHARE = 3
"""Up to one in so many pictures may be missing without a word from the decoder (MPEG-2 skips noise silently)."""
_REMEMBERED = 4096


class Gaps:
    """Compares the times of the packets that went in with those of the pictures that came out."""

    def __init__(self, codec: str, *, is_timed: bool, from_beginning: bool) -> None:
        """is_timed: packets carry presentation times (in AVI, pictures are told apart by their slots instead).
        from_beginning: not after a seek, which may leave out the pictures before a key frame.
        """
        self._is_known = is_timed and codec in _ONE_PICTURE_A_PACKET
        self._is_interlaced = False
        self._shown = self._silent = 0
        self._is_seek, self._has_begun = not from_beginning, False
        self._waiting: list[int] = []
        self._late: set[int] = set()
        self._filled: set[int] = set()
        self._trouble = 0
        self.missing = 0
        """Pictures without a stand-in so far: each is lost."""

    def sent(self, packet: Packet) -> None:
        """A packet goes to the decoder."""
        if self._is_known and packet.pts is not None and not packet.is_discard and len(self._waiting) < _REMEMBERED:
            heapq.heappush(self._waiting, packet.pts)

    def failed(self, pts: int | None = None) -> None:
        """The decoder refused something: the picture of this time, where that is known."""
        self._trouble = _NEAR_DAMAGE
        if pts is not None:
            heapq.heappush(self._waiting, pts)

    def shown(self, picture: av.VideoFrame, own_pts: int | None) -> list[int]:
        """A picture came out: PTS of those that should have come before it. Empty where none is missing, or none can be told."""
        if picture.is_corrupt:
            self._trouble = _NEAR_DAMAGE
        self._is_interlaced = picture.interlaced_frame
        if own_pts is None:
            return []
        gone = []
        while self._waiting and self._waiting[0] <= own_pts:
            pts = heapq.heappop(self._waiting)
            if pts != own_pts:
                gone.append(pts)
        if own_pts in self._late:  # it only had a wrong time
            self._late.discard(own_pts)
            self.missing -= 1
        begins, self._has_begun = not self._has_begun, True
        in_trouble, self._trouble = self._trouble > 0, max(0, self._trouble - 1)
        self._shown += 1
        self._silent += 0 if begins or in_trouble else len(gone)
        # Fields of interlaced film may come as two packets for one picture: many are "missing" then, and nothing is wrong.
        is_damage = begins or in_trouble or self._silent * _SILENT_SHARE <= self._shown
        if not gone or self._is_interlaced or (begins and self._is_seek) or not is_damage:
            return []
        self.missing += len(gone)
        if begins or len(gone) > _LONGEST_GAP:
            return []
        if len(self._late) < _REMEMBERED:
            self._late.update(gone)
        return gone

    def filled(self, pts: int) -> None:
        """A stand-in was shown at this time."""
        self.missing -= 1
        self._late.discard(pts)
        if len(self._filled) < _REMEMBERED:
            self._filled.add(pts)

    def is_filled(self, pts: int | None) -> bool:
        """Whether a stand-in has been shown at this time: the picture itself comes too late, after later ones."""
        return pts is not None and pts in self._filled

    def finished(self) -> None:
        """The decoder holds nothing any more: what still waits is lost."""
        if not self._is_interlaced and len(self._waiting) <= _LONGEST_GAP:
            self.missing += len(self._waiting)
        self._waiting.clear()


def stand_in(picture: av.VideoFrame, color: ColorTags) -> av.VideoFrame:
    """A copy of a picture, to be shown at another time in place of one that is lost."""
    planar = planar_name(picture.format.name)
    copy = picture_of(planes_of(picture, planar), planar, picture.width, picture.height, color)
    copy.duration = picture.duration
    copy.opaque = StandIn()
    return copy


class StandIn:
    """`VideoFrame.opaque` of such copies. One each: PyAV forgets an object with the first of the pictures that share it."""
