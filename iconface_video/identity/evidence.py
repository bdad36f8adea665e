"""From a survey (and the user's photos) to one anchor per track: tracks of a person share theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from iconface_video.faces.align import TEMPLATE_SIZE, crop_from_display, cut_crop, widened
from iconface_video.faces.quality import pose
from iconface_video.identity.anchors import CropCandidate, best_first, choose_crops, make_anchor, self_anchor
from iconface_video.identity.references import Embed, Match
from iconface_video.settings import AnchorSettings
from iconface_video.types import Float32, IdentityAnchor, Survey, Track, UInt8

DisplayAt = Callable[[int], UInt8]
"""PTS -> the upright picture with square pixels, (h, w, 3) RGB."""

_MOST_CANDIDATES = 240
"""Rows of one person that are compared with each other."""


def build_anchors(
    survey: Survey,
    matches: Sequence[Match],
    display_at: DisplayAt,
    embed: Embed,
    settings: AnchorSettings,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> dict[int, IdentityAnchor]:
    """Track id -> anchor. Tracks of one person share one object; a track of nobody stands for itself.

    The user's photos outrank the clip's own frames; with neither usable, the degraded face's own embedding.
    on_done: called with (people done, people in all).
    """
    photos = {match.person: match for match in matches}
    anchors: dict[int, IdentityAnchor] = {}
    groups = group_tracks(survey)
    for done, (person, tracks) in enumerate(groups):
        match = photos.get(person) if person is not None else None
        if match is not None:
            anchor = anchor_from_photos(match, settings)
        else:
            anchor = anchor_from_tracks(survey, tracks, display_at, embed, settings)
        anchors.update({track.track_id: anchor for track in tracks})
        on_done(done + 1, len(groups))
    return anchors


def group_tracks(survey: Survey) -> list[tuple[int | None, list[Track]]]:
    """(person, tracks) in the order of people; then each track of nobody by itself."""
    known: dict[int, list[Track]] = {}
    for track in survey.tracks:
        if track.person is not None:
            known.setdefault(track.person, []).append(track)
    alone: list[tuple[int | None, list[Track]]] = [(None, [track]) for track in survey.tracks if track.person is None]
    return [*((person, known[person]) for person in sorted(known)), *alone]


def anchor_from_photos(match: Match, settings: AnchorSettings) -> IdentityAnchor:
    """From all photos; each frame is shown the nearest."""
    photos = [match.photos[row] for row in best_first([photo.embedding for photo in match.photos])]
    points = [photo.landmarks for photo in photos if photo.landmarks is not None]
    landmarks = np.stack(points) if len(points) == len(photos) else None
    return make_anchor([photo.embedding for photo in photos], [photo.crop for photo in photos], settings, "user", landmarks)


def anchor_from_tracks(
    survey: Survey, tracks: Sequence[Track], display_at: DisplayAt, embed: Embed, settings: AnchorSettings
) -> IdentityAnchor:
    """From the best and most diverse crops of the tracks; from the face itself where no crop is good enough."""
    chosen = choose_crops(_candidates(survey, tracks), settings.anchor_crops)
    if chosen:
        in_time = sorted(chosen, key=lambda item: item.pts)  # forwards through the file is the cheaper way
        scales = (1.0, settings.picture_scale or 1.0)
        cut = {id(item): _cut(tracks, item, display_at(item.pts), scales) for item in in_time}
        crops, shown = ([cut[id(item)][which] for item in chosen] for which in range(2))
        return make_anchor(embed(crops), shown, settings, "track", np.stack([_landmarks(tracks, item) for item in chosen]))
    taken = [track.embeddings for track in tracks if len(track.embeddings)]
    if taken:
        return self_anchor(np.concatenate(taken), settings)
    track = tracks[0]
    row = int(np.argmax(track.scores))
    return self_anchor(embed([_cut_row(track, row, display_at(int(track.pts[row])))]), settings)


def _candidates(survey: Survey, tracks: Sequence[Track]) -> list[CropCandidate]:
    """Detected frames, evenly over the better half, so that a long track is not represented by one moment."""
    rows = [np.flatnonzero(track.scores > 0) for track in tracks]
    groups = np.repeat(np.arange(len(tracks)), [len(found) for found in rows])
    row = np.concatenate(rows)
    quality = np.concatenate([track.quality[found] for track, found in zip(tracks, rows)])
    pts = np.concatenate([track.pts[found] for track, found in zip(tracks, rows)])
    order = np.lexsort((pts, -quality))
    order = order[: max(_MOST_CANDIDATES, len(order) // 2)]
    order = order[:: max(1, len(order) // _MOST_CANDIDATES)]
    return [_candidate(survey, tracks[groups[i]], int(row[i]), int(groups[i])) for i in order]


def _candidate(survey: Survey, track: Track, row: int, group: int) -> CropCandidate:
    pts = int(track.pts[row])
    head = pose(track.landmarks[row])
    taken = np.flatnonzero(track.embedding_pts == pts)
    return CropCandidate(
        pts=pts,
        seconds=float(pts * survey.info.time_base),
        quality=float(track.quality[row]),
        pose=np.array([float(head.yaw), float(head.pitch)], np.float32),
        embedding=track.embeddings[taken[0]] if len(taken) else None,
        group=group,
    )


def _landmarks(tracks: Sequence[Track], item: CropCandidate) -> Float32:
    """(5, 2) px of the candidate's face."""
    track = tracks[item.group]
    return np.asarray(track.landmarks[int(np.searchsorted(track.pts, item.pts))], np.float32)


def _cut(tracks: Sequence[Track], item: CropCandidate, picture: UInt8, scales: Sequence[float]) -> list[UInt8]:
    """The crop at each scale: for the identity encoder, and as the model is shown it."""
    track = tracks[item.group]
    row = int(np.searchsorted(track.pts, item.pts))
    cut = {scale: _cut_row(track, row, picture, scale) for scale in set(scales)}
    return [cut[scale] for scale in scales]


def _cut_row(track: Track, row: int, picture: UInt8, scale: float = 1.0) -> UInt8:
    """Aligned crop, `scale` times as wide as the FFHQ frame: 512 px where the face is larger than 256 px, else 256."""
    size = 512 if TEMPLATE_SIZE * np.exp(-track.parameters[row, 0]) > 256 else 256
    parameters = widened(track.parameters[row], scale)
    return np.asarray(cut_crop(picture, crop_from_display(parameters, size), size), dtype=np.uint8)


def describe_matches(matches: Sequence[Match], names: Mapping[int, str] | None = None) -> list[str]:
    """One line per match for the summary: which photos were taken for whom, how alike they are, and who is next."""
    known = names or {}
    lines = []
    for match in matches:
        who = match.name or known.get(match.person) or f"person {match.person + 1}"
        count = len(match.photos)
        line = f"{count} reference photo{'s' if count > 1 else ''} for {who} (similarity {match.score:.2f}"
        if match.rival is not None:
            line += f"; next is {known.get(match.rival) or f'person {match.rival + 1}'} with {match.rival_score:.2f}"
        lines.append(line + ")")
    return lines
