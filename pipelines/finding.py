"""The first two stages of the main recipe: who is in the clip, and what is known of each; kept from an earlier run or made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from iconface_video.identity.anchors import ANCHOR_FILES, load_anchors, save_anchors
from iconface_video.identity.evidence import build_anchors, describe_matches
from iconface_video.identity.people import check_names, group_people, load_people_photos, match_chosen, people_directions
from iconface_video.identity.people_choice import ChosenPeople
from iconface_video.identity.references import (
    Embed,
    Match,
    ReferencePhoto,
    load_folder,
    load_photo,
    match_references,
    photo_detector,
)
from iconface_video.pipelines.people import obeyed_people
from iconface_video.pipelines.survey import load_embedder
from iconface_video.session.clip import Clip, DisplayPictures, Watch
from iconface_video.session.journal import Journal
from iconface_video.session.parts import EMBEDDED, anchor_parts, input_parts, survey_parts
from iconface_video.session.work import ANCHORS, SURVEY, WorkFolder
from iconface_video.settings import RunSettings
from iconface_video.tracking.store import load_survey, part_of_survey, save_survey
from iconface_video.tracking.survey import run_survey
from iconface_video.types import IdentityAnchor, Progress, Survey, Track


@dataclass(frozen=True)
class ReferenceChoice:
    """The user's photos of the people in the clip."""

    photos: tuple[Path, ...] = ()
    """Of whoever they show; matched by likeness."""
    people: tuple[tuple[str, Path], ...] = ()
    """(name, folder of photos) for each person."""
    file: Path | None = None
    """A people.yaml (of `find_people`) that says who is who, who is skipped, and gives photos of its own."""

    def __bool__(self) -> bool:
        return bool(self.photos or self.people or self.file)


@dataclass(frozen=True, eq=False)
class Found:
    """Result of the first two stages."""

    source: dict[str, Any]
    """Parts of the input's fingerprint."""
    survey: Survey
    """Those whom the user skips are not in it."""
    anchors: dict[int, IdentityAnchor]
    notes: tuple[str, ...]
    skipped: tuple[Track, ...] = ()
    left_alone: dict[str, int] = field(default_factory=dict)
    """Faces (track frames) of `skipped`, by reason."""
    names: dict[int, str] = field(default_factory=dict)
    """Person -> name, of those that the user named."""

    @property
    def everybody(self) -> Survey:
        return replace(self.survey, tracks=(*self.survey.tracks, *self.skipped))


class Notes:
    """What a person should know, said as soon as it is known, and again in the report."""

    def __init__(self, journal: Journal, watch: Watch) -> None:
        self._journal, self._watch = journal, watch
        self.said: list[str] = []

    def say(self, *notes: str) -> None:
        """These, and what the journal has to say meanwhile."""
        for note in (*notes, *self._journal.take_notes()):
            self.said.append(note)
            self._watch.report(Progress("survey", 0, None, message=note))


def find_faces(
    clip: Clip,
    settings: RunSettings,
    references: ReferenceChoice,
    embed: Embed | None,
    folder: WorkFolder,
    notes: Notes,
    watch: Watch,
) -> Found:
    """Survey and anchors, as far as they are not kept from an earlier run.

    The user's photos are read first: a photo without a face is refused before any long work.
    """
    source = input_parts(clip, settings.read)
    if settings.render.strength <= 0 and not references:
        return Found(source, _empty_survey(clip), {}, ("strength 0: the faces are left as they are",))
    if references.file is not None:
        return _obey(references.file, clip, source, settings, references, embed, folder, notes, watch)
    journal, embedder = folder.journal, EMBEDDED if embed is None else "given"
    photos: list[ReferencePhoto] | None = None
    said: list[str] = []
    survey = None
    if journal.find("survey", survey_parts(source, settings, embedder)) is not None:
        survey = load_survey(folder.survey)
    else:
        embed = embed or load_embedder()
        photos, said = _read_references(references, settings, embed)
        notes.say()
        survey = _survey(clip, settings, embed, watch)
        save_survey(survey, folder.survey)
        journal.finish("survey", survey_parts(source, settings, embedder), folder.files_of(SURVEY))
    if not survey.tracks:
        return Found(source, survey, {}, (*said, "no face was found: the picture is as it was"))
    parts = anchor_parts(source, survey, references.photos, references.people, settings.anchors, embedder)
    kept = journal.find("anchors", parts)
    notes.say()
    if kept is not None:
        return Found(source, survey, load_anchors(folder.anchors), tuple(kept["notes"]))
    embed = embed or load_embedder()
    if photos is None:
        photos, said = _read_references(references, settings, embed)
    matches = match_references(photos, people_directions(survey, settings.anchors), settings.anchors)
    anchors = _anchors(clip, survey, matches, embed, settings, watch)
    said += describe_matches(matches)
    save_anchors(anchors, folder.anchors)
    journal.finish("anchors", parts, [f"{ANCHORS}/{name}" for name in ANCHOR_FILES], notes=said)
    return Found(source, survey, anchors, tuple(said))


def _survey(clip: Clip, settings: RunSettings, embed: Embed, watch: Watch) -> Survey:
    with watch.stage("survey"):
        found = run_survey(clip.reader, settings.survey, embed, watch.report, watch.should_stop, start=clip.start, end=clip.end)
        return group_people(found, settings.anchors)


def _obey(
    file: Path,
    clip: Clip,
    source: dict[str, Any],
    settings: RunSettings,
    references: ReferenceChoice,
    embed: Embed | None,
    folder: WorkFolder,
    notes: Notes,
    watch: Watch,
) -> Found:
    """As `find_faces`, with people as the user's people.yaml has them. Anchors stand on the whole clip, whatever part is run."""
    chosen, said = obeyed_people(file, clip, settings, embed, watch)
    check_names([name for name, _ in references.people], chosen)
    notes.say(*said)
    whole, skipped = _without_skipped(chosen.survey, chosen)
    begin, end = clip.pts_range(whole.first_pts, whole.last_pts)
    part = whole if clip.is_whole else part_of_survey(whole, begin, end)
    skipped = skipped if clip.is_whole else part_of_survey(skipped, begin, end)
    counts: dict[str, int] = {}
    for track in skipped.tracks:
        counts[chosen.left_alone[track.track_id]] = counts.get(chosen.left_alone[track.track_id], 0) + len(track)
    if not part.tracks:
        return Found(
            source, part, {}, ("there is no face to restore: the picture is as it was",), skipped.tracks, counts, chosen.names
        )
    given = [*references.people, *((chosen.title(person), path) for person in chosen.photos for path in chosen.photos[person])]
    embedder = EMBEDDED if embed is None else "given"
    parts = anchor_parts(source, whole, references.photos, given, settings.anchors, embedder)
    kept = folder.journal.find("anchors", parts)
    notes.say()
    if kept is not None:
        return Found(source, part, load_anchors(folder.anchors), tuple(kept["notes"]), skipped.tracks, counts, chosen.names)
    anchors, told = _anchors_of_chosen(chosen, whole, clip, settings, references, embed or load_embedder(), watch)
    save_anchors(anchors, folder.anchors)
    folder.journal.finish("anchors", parts, [f"{ANCHORS}/{name}" for name in ANCHOR_FILES], notes=told)
    return Found(source, part, anchors, tuple(told), skipped.tracks, counts, chosen.names)


def _without_skipped(survey: Survey, chosen: ChosenPeople) -> tuple[Survey, Survey]:
    """The survey of those who are restored, and of those who are not."""
    restored = tuple(track for track in survey.tracks if track.track_id not in chosen.left_alone)
    skipped = tuple(track for track in survey.tracks if track.track_id in chosen.left_alone)
    return replace(survey, tracks=restored), replace(survey, tracks=skipped)


def _anchors_of_chosen(
    chosen: ChosenPeople,
    survey: Survey,
    clip: Clip,
    settings: RunSettings,
    references: ReferenceChoice,
    embed: Embed,
    watch: Watch,
) -> tuple[dict[int, IdentityAnchor], list[str]]:
    """Anchors of the survey's tracks, and notes; photos of people.yaml, of --person and of --reference all count."""
    own, notes = load_people_photos(chosen, photo_detector(settings.survey), embed, settings.anchors.picture_scale)
    others, more = _read_references(references, settings, embed)
    matches, doubts = match_chosen(chosen, own, others, settings.anchors)
    anchors = _anchors(Clip(clip.reader), survey, matches, embed, settings, watch)
    return anchors, [*notes, *more, *describe_matches(matches, chosen.names), *doubts]


def _anchors(
    clip: Clip, survey: Survey, matches: Sequence[Match], embed: Embed, settings: RunSettings, watch: Watch
) -> dict[int, IdentityAnchor]:
    def on_done(done: int, total: int) -> None:
        watch.check()
        watch.report(Progress("anchors", done, total, unit="people"))

    with watch.stage("anchors"), DisplayPictures(clip) as pictures:
        return build_anchors(survey, matches, pictures.at, embed, settings.anchors, on_done)


def _read_references(
    references: ReferenceChoice, settings: RunSettings, embed: Embed
) -> tuple[list[ReferencePhoto], list[str]]:
    """All photos, and what a person should know about them."""
    if not references:
        return [], []
    detector = photo_detector(settings.survey)
    scale = settings.anchors.picture_scale
    photos = [load_photo(path, detector, embed, scale=scale) for path in references.photos]
    notes: list[str] = []
    for name, path in references.people:
        more, skipped = load_folder(name, path, detector, embed, scale)
        photos += more
        notes += skipped
    notes += [f"{photo.path.name}: {note}" for photo in photos for note in photo.notes]
    return photos, notes


def _empty_survey(clip: Clip) -> Survey:
    first = clip.start.pts if clip.start is not None else clip.info.first_pts
    return Survey(clip.info, (), (), clip.frame_estimate or 0, first, first)
