"""Who is who: tracks of one person, grouped across shots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from iconface_video.identity.anchors import aggregate
from iconface_video.settings import AnchorSettings
from iconface_video.types import Float32, Survey, Track

_CANNOT_LINK = 1e6
"""A distance that no average of ordinary distances makes up for: one such pair keeps two groups apart."""


def group_people(survey: Survey, settings: AnchorSettings) -> Survey:
    """The survey with every track's `person` set where the track has embeddings (None otherwise).

    Agglomerative clustering: two groups become one while the mean cosine of a picture of one and a picture of the other is at
    least `settings.same_person_similarity` (`mean_direction`; average linkage over tracks), the most alike first. Tracks seen
    at the same time never belong together. People are numbered by screen time, most seen first.
    """
    known = [index for index, track in enumerate(survey.tracks) if len(track.embeddings)]
    means = [mean_direction(survey.tracks[index].embeddings) for index in known]
    groups = cluster(np.array(means), [survey.tracks[index] for index in known], settings.same_person_similarity)
    person_of = dict(zip(known, _by_screen_time(groups, [survey.tracks[index] for index in known])))
    tracks = tuple(replace(track, person=person_of.get(index)) for index, track in enumerate(survey.tracks))
    return replace(survey, tracks=tracks)


def mean_direction(embeddings: Float32) -> Float32:
    """(512,) mean of a track's unit embeddings, weighted by their norms (IConFace eq. 4 at T = 1), not made a unit vector again.

    The product of two of these is the mean cosine of a picture of one track and a picture of the other. The cosine of two
    anchors (eq. 3) is not that: the more pictures an anchor stands on, the more of what all faces have in common is left in
    it, so two strangers seen for long would look more alike than two strangers seen for a moment, and no threshold fits both.
    """
    raw = np.asarray(embeddings, dtype=np.float64)
    return (raw.sum(axis=0) / max(float(np.linalg.norm(raw, axis=1).sum()), 1e-6)).astype(np.float32)


def cluster(means: Float32, tracks: Sequence[Track], min_similarity: float) -> list[int]:
    """A group number per track.  means: (n, 512) of `mean_direction`."""
    if len(tracks) < 2:
        return [0] * len(tracks)
    distance = 1.0 - np.clip(means.astype(np.float64) @ means.T, -1.0, 1.0)
    distance[_seen_together(tracks)] = _CANNOT_LINK
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), method="average")
    return [int(group) for group in fcluster(tree, 1.0 - min_similarity, criterion="distance")]


def person_direction(tracks: Sequence[Track], settings: AnchorSettings) -> Float32 | None:
    """(512,) unit direction over all embeddings of a person's tracks; None when there is none."""
    embeddings = [track.embeddings for track in tracks if len(track.embeddings)]
    return aggregate(np.concatenate(embeddings), settings.temperature).direction if embeddings else None


def _seen_together(tracks: Sequence[Track]) -> NDArray[np.bool_]:
    """(n, n) bool: both tracks have a frame in common."""
    first = np.array([track.pts[0] for track in tracks])
    last = np.array([track.pts[-1] for track in tracks])
    return (first[:, None] <= last[None, :]) & (first[None, :] <= last[:, None])


def _by_screen_time(groups: Sequence[int], tracks: Sequence[Track]) -> list[int]:
    frames: dict[int, int] = {}
    for group, track in zip(groups, tracks):
        frames[group] = frames.get(group, 0) + len(track)
    order = {group: rank for rank, group in enumerate(sorted(frames, key=lambda group: -frames[group]))}
    return [order[group] for group in groups]
