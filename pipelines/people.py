"""Who is in a clip: a survey, a contact sheet to look at, and a people.yaml to edit."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from iconface_video.errors import OutputError, UsageError
from iconface_video.files import write_whole
from iconface_video.identity.people_choice import ChosenPeople, apply_people_file
from iconface_video.identity.people_file import read_people_file
from iconface_video.identity.people_summary import PersonSummary
from iconface_video.identity.references import Embed
from iconface_video.lock import working_in
from iconface_video.pages.contact_sheet import ContactSheet, draw, make_sheet, to_html
from iconface_video.pipelines.choosing import Choice, choose_settings
from iconface_video.session.clip import Clip, DisplayPictures, OnProgress, ShouldStop, Watch
from iconface_video.session.clip_faces import ClipFaces, ClipRequest
from iconface_video.session.networks import Networks
from iconface_video.session.people_folder import FILE, SavedPeople, folder_of, save_people
from iconface_video.types import Progress
from iconface_video.video.reader import VideoReader

PAGE, PICTURE = "people.html", "people.png"


@dataclass(frozen=True, eq=False)
class FoundPeople:
    """Result of `find_people`."""

    folder: Path
    choice: ChosenPeople
    """The survey with people as people.yaml has them."""
    people: tuple[PersonSummary, ...]
    notes: tuple[str, ...]
    """What a person should know: what was kept, what was not found again."""

    @property
    def file(self) -> Path:
        """people.yaml."""
        return self.folder / FILE

    @property
    def page(self) -> Path:
        """The contact sheet."""
        return self.folder / PAGE


def find_people(
    input: Path | str,
    folder: Path | str | None = None,
    *,
    settings: Choice = None,
    force: bool = False,
    embed: Embed | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> FoundPeople:
    """Find the people of a clip; write people.yaml, people.html, people.png and the survey into `folder`.

    settings: as for `restore_video`.  folder: ``<stem>.people`` beside the clip when not given.  embed: identity encoder; the embedded one when not given.
    Where people.yaml is there already, what the user wrote in it stays: with the same clip and settings the file is not
    touched at all and only the pictures are made again; with other settings it is carried over to the new survey, and the
    file as it was is kept as people.before.yaml. force: start over (the old file is kept under that name then, too).

    Raises InputError, UsageError (the file there is wrong, or of another clip), OutputError, DecodeError, StoreError, Cancelled.
    """
    chosen = choose_settings(Path(input), settings, fresh=True)
    request = ClipRequest(Path(input), settings=chosen.settings, chosen=chosen.preset)
    watch = Watch(on_progress, should_stop)
    place = Path(folder) if folder is not None else folder_of(request.input)
    with VideoReader(request.input, request.settings.read) as reader, ExitStack() as stack:
        session = ClipFaces(Clip(reader), request, Networks(embed=embed), watch)
        _make_folder(place)
        stack.enter_context(working_in(place))
        choice, notes = _people(session, place, force)
        notes = [*notes, *session.recognise(choice)]
        sheet = _sheet(session.clip, choice, watch)
        write_whole(place / PAGE, lambda out: out.write(to_html(sheet).encode()))
        write_whole(place / PICTURE, lambda out: out.write(_png(sheet)))
    return FoundPeople(place, choice, sheet.people, (*session.notes.all, *notes, *choice.notes))


def _people(session: ClipFaces, place: Path, force: bool) -> tuple[ChosenPeople, list[str]]:
    """As the file in the folder has them, which is written where it does not fit the clip and settings as they are."""
    clip, made_from = session.clip, session.provenance.people(session.clip)
    before = None if force else SavedPeople.open(place / FILE)
    if before is None and not force:
        _check_free(place)
    if before is not None:
        before = before.about(clip, made_from)
        if not before.changed(made_from):
            return apply_people_file(before.file, before.survey), [
                f"{FILE} is as you left it; only the pictures were made again"
            ]
    session.tell_preset()
    survey = session.find_faces(clip)
    notes = save_people(place, clip.info.path, survey, made_from, before)
    return apply_people_file(read_people_file(place / FILE), survey), notes


def _make_folder(place: Path) -> None:
    """Before any long work. Raises OutputError."""
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{place}: the folder cannot be made ({error.strerror}); choose another with -o") from error


def _check_free(place: Path) -> None:
    """Raises UsageError where pictures of another make stand under the names of ours."""
    for name in (PAGE, PICTURE):
        if (place / name).exists():
            raise UsageError(
                f"{place / name}: exists already, and no {FILE} is beside it. Choose another folder, or add `force`"
            )


def _sheet(clip: Clip, choice: ChosenPeople, watch: Watch) -> ContactSheet:
    def on_done(done: int, total: int) -> None:
        watch.check()
        watch.report(Progress("anchors", done, total, unit="pictures"))

    with watch.stage("anchors"), DisplayPictures(clip) as pictures:
        return make_sheet(choice, pictures.at, choice.notes, on_done)


def _png(sheet: ContactSheet) -> bytes:
    _, data = cv2.imencode(".png", np.ascontiguousarray(draw(sheet)[..., ::-1]))
    return bytes(data)
