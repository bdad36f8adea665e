"""Who is in a clip: a survey, a contact sheet to look at, and a people.yaml to edit; and a run's part that obeys it.

The survey is kept beside people.yaml, so that a run which obeys the file need not survey again. The file is the user's: a
later survey carries over what was written in it, and whatever is replaced is kept under another name first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from iconface_video.errors import OutputError, StoreError, UsageError
from iconface_video.files import write_whole
from iconface_video.identity.people import group_people
from iconface_video.identity.people_choice import ChosenPeople, carry_over, entries_of, nobodys, obey
from iconface_video.identity.people_file import PeopleFile, PersonEntry, read_people_file
from iconface_video.identity.people_summary import PersonSummary, people_text, summarise_people
from iconface_video.identity.references import Embed
from iconface_video.lock import working_in
from iconface_video.pages.contact_sheet import ContactSheet, make_sheet, to_html
from iconface_video.pipelines.survey import load_embedder
from iconface_video.session.clip import Clip, DisplayPictures, OnProgress, ShouldStop, Watch
from iconface_video.session.fingerprint import differences, hash_folder, hash_survey, plain
from iconface_video.settings import RunSettings
from iconface_video.tracking.store import SURVEY_FILES, load_survey, save_survey
from iconface_video.tracking.survey import run_survey
from iconface_video.types import Progress, Survey
from iconface_video.video.reader import VideoReader

SUFFIX = ".people"
FILE, PAGE, PICTURE = "people.yaml", "people.html", "people.png"
_EARLIER, _ALL_EARLIER = "people.before.yaml", "people.before*.yaml"
"""The latest that was replaced; those before it have numbers."""
_SURVEY, _MADE_FROM = "survey-", "made-from.json"
"""Each survey has a folder of its own, named by its hash, which people.yaml names: so the file and its survey change together."""
_SHORT_HASH = 16
_SAMPLE_BYTES = 1 << 20


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


def folder_of(clip: Path) -> Path:
    """``<stem>.people`` beside the clip."""
    return clip.with_name(clip.stem + SUFFIX)


def find_people(
    input: Path | str,
    folder: Path | str | None = None,
    *,
    settings: RunSettings | None = None,
    force: bool = False,
    embed: Embed | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> FoundPeople:
    """Find the people of a clip; write people.yaml, people.html, people.png and the survey into `folder`.

    folder: ``<stem>.people`` beside the clip when not given.  embed: identity encoder; the embedded one when not given.
    Where people.yaml is there already, what the user wrote in it stays: with the same clip and settings the file is not
    touched at all and only the pictures are made again; with other settings it is carried over to the new survey, and the
    file as it was is kept as people.before.yaml. force: start over (the old file is kept under that name then, too).

    Raises InputError, UsageError (the file there is wrong, or of another clip), OutputError, DecodeError, StoreError, Cancelled.
    """
    settings = settings or RunSettings()
    watch = Watch(on_progress, should_stop)
    path = Path(input)
    place = Path(folder) if folder is not None else folder_of(path)
    with VideoReader(path, settings.read) as reader, ExitStack() as stack:
        clip = Clip(reader)
        _make_folder(place)
        stack.enter_context(working_in(place))
        made_from = _made_from(clip, settings, embed)
        before = None if force else _Saved.open(place / FILE)
        if before is None and not force:
            _check_free(place)
        if before is not None:
            before = _same_clip(before, made_from, clip)
        if before is not None and not differences(before.made_from, made_from):
            survey, file, notes = before.survey, before.file, [f"{FILE} is as you left it; only the pictures were made again"]
        else:
            survey = _survey(clip, settings, embed or load_embedder(), watch)
            notes = _write(place, clip, survey, made_from, before)
            file = read_people_file(place / FILE)
        choice = obey(file, survey)
        sheet = _sheet(clip, choice, watch)
        write_whole(place / PAGE, lambda out: out.write(to_html(sheet).encode()))
        write_whole(place / PICTURE, lambda out: out.write(_png(sheet)))
    return FoundPeople(place, choice, sheet.people, (*notes, *choice.notes))


def obeyed_people(
    path: Path, clip: Clip, settings: RunSettings, embed: Embed | None, watch: Watch
) -> tuple[ChosenPeople, list[str]]:
    """The whole clip's people as a people.yaml has them, and notes.

    The survey beside the file is taken where it was made from this clip with these settings; with other settings the clip is
    surveyed again, and the file is carried over to that. embed: the caller's own identity encoder, if it has one.

    Raises InputError and UsageError: the file is wrong, or of another clip; StoreError: its survey is missing or damaged.
    """
    saved = _Saved.read(path)
    made_from = _made_from(clip, settings, embed)
    saved = _same_clip(saved, made_from, clip)
    # The file says who is who: how alike tracks must be to be grouped no longer matters.
    ungrouped = [{name: value for name, value in parts.items() if name != "grouping"} for parts in (saved.made_from, made_from)]
    changed = differences(ungrouped[0], ungrouped[1])
    if not changed:
        chosen = obey(saved.file, saved.survey)
        return chosen, list(chosen.notes)
    whole = Clip(clip.reader)
    survey = _survey(whole, settings, embed or load_embedder(), watch)
    carried = carry_over(saved.file, saved.survey, survey)
    notes = [
        f"the clip was surveyed again for {path}, which was made with other settings ({', '.join(changed)}); "
        "`iconface-video people` with the present ones saves that time"
    ]
    file = replace(saved.file, entries=carried.entries, nobody=carried.nobody)
    chosen = obey(file, survey)
    return chosen, [*notes, *carried.notes, *chosen.notes]


def check_people(path: Path, clip: Clip, settings: RunSettings) -> tuple[str, ...]:
    """Hold a people.yaml against its survey, without surveying anything; notes. Raises as `obeyed_people`."""
    saved = _Saved.read(path)
    saved = _same_clip(saved, _made_from(clip, settings, None), clip)
    return tuple(obey(saved.file, saved.survey).notes)


@dataclass(frozen=True, eq=False)
class _Saved:
    """A people.yaml with the survey that its track numbers belong to."""

    file: PeopleFile
    survey: Survey
    made_from: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> _Saved | None:
        """None: there is no people.yaml."""
        if not path.exists():
            return None
        try:
            return cls.read(path)
        except (UsageError, StoreError, OSError) as error:
            raise UsageError(f"{error} (to start over, add `force`: the old file is kept as {_EARLIER})") from error

    @classmethod
    def read(cls, path: Path) -> _Saved:
        """Raises InputError, UsageError, StoreError."""
        file = read_people_file(path)
        folder = path.parent / f"{_SURVEY}{file.survey}"
        if not file.survey or not folder.is_dir():
            raise StoreError(
                f"{path}: the folder '{folder.name}' is not beside it, to which its track numbers belong. Keep both together "
                "(is the line 'survey:' as it was?), or make them anew with `iconface-video people`"
            )
        survey = load_survey(folder)
        try:
            made_from = json.loads((folder / _MADE_FROM).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise StoreError(f"{folder / _MADE_FROM}: missing or damaged; make it anew with `iconface-video people`") from error
        if file.survey != _name_of(survey):
            raise StoreError(f"{folder}: its survey is damaged; make it anew with `iconface-video people`")
        return cls(file, survey, made_from)


def _name_of(survey: Survey) -> str:
    return hash_survey(survey)[:_SHORT_HASH]


def _made_from(clip: Clip, settings: RunSettings, embed: Embed | None) -> dict[str, Any]:
    """What a survey of the whole clip depends on, in plain values."""
    from iconface_video.faces.identity_encoder import EMBEDDED_FOLDER

    grouping = {"same_person_similarity": settings.anchors.same_person_similarity}
    parts = {
        "input": clip.reader.file.identity(),
        "read": asdict(settings.read),
        "survey": asdict(settings.survey),
        "grouping": grouping,
        "encoder": hash_folder(EMBEDDED_FOLDER) if embed is None else "given",
    }
    return plain(parts)


def _same_clip(saved: _Saved, made_from: dict[str, Any], clip: Clip) -> _Saved:
    """With the clip's identity as it is written today. Raises UsageError where it is another clip."""
    if saved.made_from.get("input") not in (made_from["input"], _hash_of_samples(clip.info.path)):
        known = saved.file.clip.name if saved.file.clip is not None else "another video"
        what = "has changed since it was made" if known == clip.info.path.name else f"it is about {known}"
        raise UsageError(
            f"{saved.file.path}: does not fit {clip.info.path}: {what}. Make a new one: iconface-video people "
            f"{clip.info.path} -o FOLDER (or with `force`, which starts over and keeps the old file as {_EARLIER})"
        )
    return replace(saved, made_from={**saved.made_from, "input": made_from["input"]})


def _hash_of_samples(path: Path) -> str:
    """What the first releases knew a video by: its size, first, middle and last megabyte. What was written then stays good."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        for start in (0, max(0, size // 2), max(0, size - _SAMPLE_BYTES)):
            file.seek(start)
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def _survey(clip: Clip, settings: RunSettings, embed: Embed, watch: Watch) -> Survey:
    with watch.stage("survey"):
        found = run_survey(clip.reader, settings.survey, embed, watch.report, watch.should_stop)
        return group_people(found, settings.anchors)


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


def _write(place: Path, clip: Clip, survey: Survey, made_from: dict[str, Any], before: _Saved | None) -> list[str]:
    """Survey and people.yaml; what is replaced is kept. Returns notes."""
    entries: Sequence[PersonEntry] = entries_of(survey)
    nobody: Sequence[int] = nobodys(survey)
    notes = []
    file = place / FILE
    if before is not None:
        carried = carry_over(before.file, before.survey, survey)
        entries, nobody = carried.entries, carried.nobody
        changed = ", ".join(differences(before.made_from, made_from))
        notes = [
            f"surveyed again ({changed}); what you wrote was carried over, the file as it was is {_EARLIER}",
            *carried.notes,
        ]
    draft = PeopleFile(file, clip.info.path, _name_of(survey), tuple(entries), tuple(nobody))
    folder = place / f"{_SURVEY}{draft.survey}"
    save_survey(survey, folder)
    write_whole(folder / _MADE_FROM, lambda out: out.write(json.dumps(made_from, indent=1).encode()))
    seen = {item.person: item.facts for item in summarise_people(_unmerged(draft, survey))}
    facts = {entry.number: seen[entry.number - 1] for entry in entries if entry.number - 1 in seen}
    text = people_text(entries, nobody, clip=clip.info.path, survey=draft.survey, path=file, facts=facts)
    if file.exists():
        old = file.read_bytes()
        _make_way(place, old)
        write_whole(place / _EARLIER, lambda out: out.write(old))
    write_whole(file, lambda out: out.write(text.encode()))
    _remove_unused_surveys(place)
    return notes


def _make_way(place: Path, old: bytes) -> None:
    """What was kept before keeps another name: it may be what the user has written."""
    kept = place / _EARLIER
    if kept.exists() and kept.read_bytes() != old:
        names = (kept.with_name(f"{kept.stem}-{number}{kept.suffix}") for number in count(2))
        kept.rename(next(name for name in names if not name.exists()))


def _remove_unused_surveys(place: Path) -> None:
    """Those of `find_people` that neither people.yaml nor the files before it name."""
    named = "".join(
        path.read_text(encoding="utf-8", errors="replace")
        for path in (place / FILE, *place.glob(_ALL_EARLIER))
        if path.exists()
    )
    for folder in place.glob(_SURVEY + _SHORT_HASH * "[0-9a-f]"):
        if (folder / _MADE_FROM).is_file() and folder.name.removeprefix(_SURVEY) not in named:
            for path in (path for pattern in (_MADE_FROM, *SURVEY_FILES) for path in folder.glob(pattern)):
                path.unlink(missing_ok=True)
            with suppress(OSError):  # somebody put something else in it
                folder.rmdir()


def _unmerged(file: PeopleFile, survey: Survey) -> ChosenPeople:
    """Each block by itself, for the remark in its first line."""
    return obey(replace(file, entries=tuple(replace(entry, same_as=None) for entry in file.entries)), survey)


def _sheet(clip: Clip, choice: ChosenPeople, watch: Watch) -> ContactSheet:
    def on_done(done: int, total: int) -> None:
        watch.check()
        watch.report(Progress("anchors", done, total, unit="pictures"))

    with watch.stage("anchors"), DisplayPictures(clip) as pictures:
        return make_sheet(choice, pictures.at, choice.notes, on_done)


def _png(sheet: ContactSheet) -> bytes:
    from iconface_video.pages.contact_sheet import draw

    _, data = cv2.imencode(".png", np.ascontiguousarray(draw(sheet)[..., ::-1]))
    return bytes(data)
