"""Who is to be learnt before a clip is restored, and from which photos: all that were given, or that the user keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from iconface_video.errors import ReferencePhotoError
from iconface_video.faces.align import crop_from_display, cut_crop
from iconface_video.identity.evidence import DisplayAt
from iconface_video.identity.references import Embed
from iconface_video.personalize.photos import CROP_SIZE, ChosenPhotos, PhotoFace, choose_photos, frames_of_clip, photo_faces
from iconface_video.restore.people import PersonToLearn, Wish, anchor_key
from iconface_video.session.clip import DisplayPictures
from iconface_video.session.clip_faces import ClipFaces
from iconface_video.types import IdentityAnchor, Track, UInt8

_LOOKED_AT = 2
"""Moments of the clip that a photo is compared with: those that the identity encoder finds most like it."""
_LIKE = 0.6
"""Cosine of a photo and a moment from which they may be one picture."""


def people_to_learn(clip: ClipFaces) -> dict[str, PersonToLearn]:
    """Everybody whose anchor stands on photos, by `anchor_key`, in the order of tracks. What the user says of one person outranks the
    settings."""
    anchors, names, known = clip.anchors(), clip.names, {item.found.person: item for item in clip.known}
    found: dict[str, PersonToLearn] = {}
    for track in clip.survey().survey.tracks:
        anchor, person = anchors[track.track_id], track.person
        key = anchor_key(anchor)
        if person is None or anchor.origin != "user" or key in found:
            continue
        kept = known[person].kept if person in known else None
        photos = _kept_photos(kept.faces) if kept is not None else _photos_of(clip, person, anchor)
        found[key] = PersonToLearn(names.get(person, f"person {person + 1}"), photos, kept, _wish_of(clip, person))
    return found


def _wish_of(clip: ClipFaces, person: int) -> Wish:
    said = clip.survey().chosen.learn.get(person)
    return clip.settings.restore.personalize if said is None else "on" if said else "off"


def wanted_in_vain(clip: ClipFaces) -> list[str]:
    """Sentences on those whom the user wants learnt, and of whom there is no photo."""
    chosen, anchors = clip.survey().chosen, clip.anchors()
    shown = {track.person for track in clip.survey().survey.tracks if anchors[track.track_id].origin == "user"}
    seen = {track.person for track in clip.survey().survey.tracks}
    return [
        f"{clip.names.get(person, f'person {person + 1}')}: not learnt, as there is no photo of them"
        for person, is_wanted in sorted(chosen.learn.items())
        if is_wanted and person in seen and person not in shown
    ]


def _kept_photos(faces: Sequence[PhotoFace]) -> Callable[[], ChosenPhotos]:
    """They were chosen when the person was added."""
    return lambda: ChosenPhotos(tuple(faces), (), ())


def _photos_of(clip: ClipFaces, person: int, anchor: IdentityAnchor) -> Callable[[], ChosenPhotos]:
    """The photos that were given of a person of the clip; where nobody has them any more (of somebody who was forgotten), those that
    the anchor shows."""

    def look() -> ChosenPhotos:
        given = [photo for match in clip.matches() if match.person == person for photo in match.photos]
        faces = photo_faces(given) or shown_faces(anchor, clip.networks.embed)
        tracks = [track for track in clip.survey().chosen.survey.tracks if track.person == person]
        with DisplayPictures(clip.clip) as pictures:
            return choose_to_learn(
                faces, clip.settings.anchors.min_similarity, lambda face: moments_like(face, tracks, pictures.at)
            )

    return look


def shown_faces(anchor: IdentityAnchor, embed: Embed) -> list[PhotoFace]:
    """The photos that an anchor shows."""
    pictures = list(anchor.references)
    return [
        PhotoFace(Path(f"photo {number + 1}"), picture, np.asarray(row, np.float32), float(picture.shape[0]))
        for number, (picture, row) in enumerate(zip(pictures, embed(pictures) if pictures else ()))
    ]


def choose_to_learn(
    faces: Sequence[PhotoFace], min_similarity: float, moments: Callable[[PhotoFace], Sequence[UInt8]] = lambda face: ()
) -> ChosenPhotos:
    """Those of one person's photos to learn from; none where they show different people. moments: of the clip, as crops in the
    FFHQ frame, that may be the very picture."""
    try:
        chosen = choose_photos([[face] for face in faces], min_similarity)
    except ReferencePhotoError as error:
        return ChosenPhotos((), (), (f"not learnt: {error}",))
    frames = [item for face in chosen.faces for item in frames_of_clip([face], moments(face))]
    out = {item.path for item in frames}
    return replace(
        chosen, faces=tuple(face for face in chosen.faces if face.path not in out), left_out=(*chosen.left_out, *frames)
    )


def moments_like(face: PhotoFace, tracks: Sequence[Track], display_at: DisplayAt) -> list[UInt8]:
    """Crops (CROP_SIZE, CROP_SIZE, 3) RGB of the moments of tracks that are most like a photo."""
    scored = [
        (float(raw @ face.direction) / max(float(np.linalg.norm(raw)), 1e-6), int(pts), track)
        for track in tracks
        for raw, pts in zip(track.embeddings, track.embedding_pts)
    ]
    best = sorted((item for item in scored if item[0] >= _LIKE), key=lambda item: (-item[0], item[1]))[:_LOOKED_AT]
    return [_crop(track, pts, display_at(pts)) for _, pts, track in best]


def _crop(track: Track, pts: int, picture: UInt8) -> UInt8:
    parameters = track.parameters[int(np.searchsorted(track.pts, pts))]
    return np.asarray(cut_crop(picture, crop_from_display(parameters, CROP_SIZE), CROP_SIZE), np.uint8)
