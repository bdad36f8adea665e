"""The first two steps of a clip's way: which faces there are and who belongs together, and what is known of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from iconface_video.identity.anchors import ANCHOR_FILES, load_anchors, save_anchors
from iconface_video.identity.evidence import build_anchors, describe_matches, group_tracks
from iconface_video.identity.grouping import (
    ReferenceChoice,
    check_names,
    group_people,
    load_people_photos,
    load_photos,
    match_chosen,
)
from iconface_video.identity.people_choice import ChosenPeople
from iconface_video.identity.references import Match, ReferencePhoto, photo_detector
from iconface_video.session.chosen_preset import ChosenPreset
from iconface_video.session.clip import Clip, DisplayPictures, Notes, Watch
from iconface_video.session.known_people import KnownInClip, describe_known, find_known
from iconface_video.session.networks import Networks
from iconface_video.session.people_folder import SavedPeople
from iconface_video.session.provenance import Provenance
from iconface_video.session.work import ANCHORS, SURVEY, WorkFolder
from iconface_video.settings import RunSettings
from iconface_video.tracking.store import load_survey, part_of_survey, save_survey
from iconface_video.tracking.surveyor import run_survey
from iconface_video.types import IdentityAnchor, Progress, Survey, Track
from iconface_video.video.scan import Scan, told


@dataclass(frozen=True, eq=False)
class ClipRequest:
    """What is asked for of one video."""

    input: Path
    output: Path | None = None
    """File or folder; None: ``<stem>.restored.<ext>`` beside the input."""
    settings: RunSettings = field(default_factory=RunSettings)
    references: ReferenceChoice = field(default_factory=ReferenceChoice)
    start: Fraction | None = None
    """Seconds after the first frame."""
    end: Fraction | None = None
    force: bool = False
    """Replace an output that exists."""
    work: Path | None = None
    """Folder for what is found and restored on the way; beside the output when not given."""
    keep_work: bool = False
    """After success, too."""
    fresh: bool = False
    """Forget what an earlier, unfinished run left in the work folder."""
    chosen: ChosenPreset | None = None
    """What the settings started from, where that is known."""
    places_are_fixed: bool = False
    """Nobody can name other places: refusals do not propose it."""


@dataclass(frozen=True, eq=False)
class FacesFound:
    """Result of the first step."""

    chosen: ChosenPeople
    """Everybody whom anchors stand on: where the user decided who is who that is the whole clip, whatever part of it is run."""
    survey: Survey
    """Of the part, without those who are skipped."""
    skipped: tuple[Track, ...] = ()
    """Tracks of the part."""

    @property
    def everybody(self) -> tuple[Track, ...]:
        return (*self.survey.tracks, *self.skipped)

    @property
    def people(self) -> int:
        return len(group_tracks(replace(self.survey, tracks=self.everybody)))

    @property
    def left_alone(self) -> dict[str, int]:
        """Faces (track frames) that are skipped, by reason."""
        why, counts = self.chosen.left_alone, dict[str, int]()
        for track in self.skipped:
            counts[why[track.track_id]] = counts.get(why[track.track_id], 0) + len(track)
        return counts


class ClipFaces:
    """A clip, what is asked for of it, and what is found out before its first face is restored; all that `ClipSession`'s further
    steps share, too. Without a work folder nothing is kept on the disk.
    """

    def __init__(
        self,
        clip: Clip,
        request: ClipRequest,
        networks: Networks | None = None,
        watch: Watch | None = None,
        used: RunSettings | None = None,
    ) -> None:
        """used: the request's settings as they are followed, where that differs (`Networks.prepared`, `MemoryPlan.apply`)."""
        self.clip, self.request = clip, request
        self.settings = used or request.settings
        self.networks, self.watch = networks or Networks(), watch or Watch()
        self.notes = Notes(self.watch)
        self.provenance = Provenance(
            request.settings, self.settings, request.references, self.networks, request.start, request.end
        )
        self.folder: WorkFolder | None = None
        self._photos: tuple[list[ReferencePhoto], list[str]] | None = None
        self._found: FacesFound | None = None
        self._is_preset_told = False
        self._scan_is_told = False
        self._anchors: dict[int, IdentityAnchor] | None = None
        self._matches: tuple[list[Match], list[str]] | None = None
        self._known: list[KnownInClip] = []

    def survey(self) -> FacesFound:
        """Which faces are where, and who belongs together."""
        if self._found is None:
            self._found = self._survey()
            self.tell_preset()
        return self._found

    def tell_preset(self) -> None:
        """Once, where the recording was looked at: before the long work, and after all that may be refused."""
        chosen = self.request.chosen
        if chosen is not None and chosen.kind is not None and not self._is_preset_told:
            self._is_preset_told = True
            self._say(chosen.sentence)

    def anchors(self) -> dict[int, IdentityAnchor]:
        """Track id -> what is known of that face: from the user's photos, or from the person's own clearest frames."""
        if self._anchors is None:
            found = self.survey()
            self._anchors = self._learn(found) if found.survey.tracks else {}
        return self._anchors

    @property
    def shares(self) -> dict[int, float]:
        """Track id -> share of the strength with which it is blended in, where that is less than all."""
        decided = self.request.references.decided
        return {} if decided is None else decided.shares

    def _survey(self) -> FacesFound:
        clip, references = self.clip, self.request.references
        if self.settings.render.strength <= 0 and not references:
            self.notes.add("strength 0: the faces are left as they are")
            return FacesFound(ChosenPeople(_empty_survey(clip)), _empty_survey(clip))
        chosen = self._chosen()
        if chosen is None:
            survey = self._kept_survey()
            found = FacesFound(ChosenPeople(survey), survey)
        else:
            begin, end = clip.pts_range(chosen.survey.first_pts, chosen.survey.last_pts)
            survey, skipped = (
                whole if clip.is_whole else part_of_survey(whole, begin, end) for whole in (chosen.restored, chosen.passed_over)
            )
            found = FacesFound(chosen, survey, skipped.tracks)
        if not found.survey.tracks:
            what = "there is no face to restore" if found.chosen.survey.tracks else "no face was found"
            self.notes.add(*(() if self._photos is None else self._photos[1]), f"{what}: the picture is as it was")
        return found

    def _chosen(self) -> ChosenPeople | None:
        """Who is who in the whole clip, as the user decided it; None: nothing was decided."""
        references = self.request.references
        if references.decided is not None:
            return references.decided.chosen
        if references.file is None:
            return None
        made_from = self.provenance.people(self.clip)
        saved = SavedPeople.read(references.file).about(self.clip, made_from)
        chosen, said = saved.applied(made_from, lambda: self.find_faces(Clip(self.clip.reader)))
        check_names([name for name, _ in references.people], chosen)
        self._say(*said)
        return chosen

    def _kept_survey(self) -> Survey:
        """Of the clip, from an earlier run where it stands unharmed."""
        made_from = self.provenance.survey(self.clip)
        if self.folder is not None and self.folder.journal.find("survey", made_from) is not None:
            return load_survey(self.folder.survey)
        self._read_photos()  # a photo without a face is refused before any long work
        self._say()
        self.tell_preset()
        survey = self.find_faces(self.clip)
        if self.folder is not None:
            save_survey(survey, self.folder.survey)
            self.folder.journal.finish("survey", made_from, self.folder.files_of(SURVEY))
        return survey

    def find_faces(self, clip: Clip) -> Survey:
        """A new survey of this clip or of another part of it, whatever is to be done with its faces."""
        embed, watch, settings = self.networks.embed, self.watch, self.settings
        self._find_scan()
        with watch.stage("survey"):
            found = run_survey(
                clip.reader, settings.survey, embed, watch.report, watch.should_stop, start=clip.start, end=clip.end
            )
            clip.reader.file.check()  # a survey of two files is nobody's
            return group_people(found, settings.anchors)

    @property
    def known(self) -> Sequence[KnownInClip]:
        """Whom of the people that the user keeps the clip shows; after `anchors`."""
        return self._known

    @property
    def names(self) -> dict[int, str]:
        """Person -> name, of those who have one; after `anchors`."""
        return {**{item.found.person: item.found.name for item in self._known}, **self.survey().chosen.names}

    def _find_scan(self) -> None:
        """Of an interlaced film, once: what in it is fields. A journal keeps it, and with it what all later steps look at."""
        reader, folder = self.clip.reader, self.folder
        if not reader.splits or self._scan_is_told:
            return
        made_from = {name: value for name, value in self.provenance.clip(self.clip).items() if name != "stretch"}
        kept = None if folder is None else folder.journal.find("scan", made_from)
        if kept is not None:
            reader.take_scan(Scan.from_dict(kept["scan"]))
        elif not reader.scan_is_known:

            def check(done: int) -> None:
                self.watch.check()
                self.watch.report(Progress("survey", 0, None, message="" if done else "looking for fields"))

            with self.watch.stage("survey"):
                scan = reader.find_scan(check)
            if folder is not None:
                folder.journal.finish("scan", made_from, [], scan=scan.to_dict())
        if reader.scan is not None:
            self._scan_is_told = True
            self._say(*told(reader.scan, reader.film))

    def _learn(self, found: FacesFound) -> dict[int, IdentityAnchor]:
        made_from = self.provenance.anchors(self.clip, found.chosen)
        folder = self.folder
        kept = None if folder is None else folder.journal.find("anchors", made_from)
        if kept is not None and self._is_library_new(kept):
            kept = None
        self._say()
        if folder is not None and kept is not None:
            everybody = self.networks.known_people if kept.get("known") else []
            self._known = [KnownInClip.from_dict(item, everybody) for item in kept.get("known", [])]
            self._say(*describe_known(self._known, found.chosen))
            self.notes.add(*kept["notes"])
            return load_anchors(folder.anchors)
        anchors, told = self._new_anchors(found.chosen)
        self.notes.add(*told)
        if folder is not None:
            save_anchors(anchors, folder.anchors)
            facts = {"known": [item.to_dict() for item in self._known], "library": self._library_hash}
            folder.journal.finish("anchors", made_from, [f"{ANCHORS}/{name}" for name in ANCHOR_FILES], notes=told, **facts)
            for item in self._known:
                self.networks.library.note_use(item.found.name, folder.path)
        return anchors

    @property
    def _library_hash(self) -> str | None:
        """Of whom the user keeps; None where that is not asked."""
        return self.networks.library.hash if self.settings.anchors.library else None

    def _is_library_new(self, kept: Mapping[str, Any]) -> bool:
        """Whether other people are kept than when a finished run recognised them. One that was begun goes on as it was, and says so."""
        assert self.folder is not None
        if kept.get("library") in (None, self._library_hash):
            return False
        if not self.folder.journal.was_complete:
            self.notes.say("people were added or forgotten since this run was begun: it goes on as it was; `fresh` looks again")
        return self.folder.journal.was_complete

    def matches(self) -> list[Match]:
        """Whom each photo that was given is taken for."""
        return self._matched(self.survey().chosen)[0]

    def _matched(self, chosen: ChosenPeople) -> tuple[list[Match], list[str]]:
        """With notes; photos of people.yaml, of --person and of --reference all count."""
        if self._matches is None:
            own, notes = self._photos_of(chosen)
            others, more = self._read_photos()
            matches, doubts = match_chosen(chosen, own, others, self.settings.anchors)
            self._matches = matches, [*notes, *more, *describe_matches(matches, chosen.names), *doubts]
        return self._matches

    def recognise(self, chosen: ChosenPeople) -> list[str]:
        """Look whom of the people that the user keeps the clip shows, beside those whose photos are given; what to know of it."""
        if not self.settings.anchors.library:
            return []
        if not self.networks.known_people:
            return self.networks.people_notes
        given = {match.person for match in self._matched(chosen)[0]}
        self._known, notes = find_known(chosen, given, self.networks.known_people, self.settings.anchors)
        return [*describe_known(self._known, chosen), *notes, *self.networks.people_notes]

    def _new_anchors(self, chosen: ChosenPeople) -> tuple[dict[int, IdentityAnchor], list[str]]:
        """With notes."""
        embed, settings = self.networks.embed, self.settings.anchors
        given, notes = self._matched(chosen)
        self._say(*self.recognise(chosen))
        matches = [*given, *(item.match for item in self._known if item.match is not None)]

        def on_done(done: int, total: int) -> None:
            self.watch.check()
            self.watch.report(Progress("anchors", done, total, unit="people"))

        with self.watch.stage("anchors"), DisplayPictures(self.clip) as pictures:
            anchors = build_anchors(chosen.restored, matches, pictures.at, embed, settings, on_done)
        return anchors, notes

    def _photos_of(self, chosen: ChosenPeople) -> tuple[Mapping[int, Sequence[ReferencePhoto]], list[str]]:
        """Person -> photos that come with the decision who is who."""
        decided, settings = self.request.references.decided, self.settings
        if decided is not None:
            return {person: photos for person, photos in decided.photos.items() if photos}, []
        if not chosen.photos:
            return {}, []
        scale = settings.anchors.picture_scale
        return load_people_photos(chosen, photo_detector(settings.survey), self.networks.embed, scale)

    def _read_photos(self) -> tuple[list[ReferencePhoto], list[str]]:
        """All others, and what a person should know about them."""
        if self._photos is None:
            references = self.request.references
            is_any = bool(references.photos or references.people)
            self._photos = load_photos(references, self.settings, self.networks.embed) if is_any else ([], [])
        return self._photos

    def _say(self, *notes: str) -> None:
        """These, and what the journal has to say meanwhile."""
        self.notes.say(*notes, *([] if self.folder is None else self.folder.journal.take_notes()))


def _empty_survey(clip: Clip) -> Survey:
    first = clip.start.pts if clip.start is not None else clip.info.first_pts
    return Survey(clip.info, (), (), clip.frame_estimate or 0, first, first)
