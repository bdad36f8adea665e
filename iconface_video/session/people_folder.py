"""What lies beside a people.yaml: the survey that its track numbers belong to, so that a run which is given the file need not
survey again.

The file is the user's: a later survey carries over what was written in it, and whatever is replaced is kept under another name
first. Each survey has a folder of its own, named by its hash, which people.yaml names: so both change together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from iconface_video.errors import StoreError, UsageError
from iconface_video.files import write_whole
from iconface_video.identity.people_choice import ChosenPeople, apply_people_file, entries_of, migrate, ungrouped
from iconface_video.identity.people_file import PeopleFile, PersonEntry, read_people_file
from iconface_video.identity.people_summary import people_text, summarise_people
from iconface_video.session.clip import Clip
from iconface_video.session.fingerprint import hash_survey
from iconface_video.session.provenance import Record, changes
from iconface_video.tracking.store import SURVEY_FILES, load_survey, save_survey
from iconface_video.types import Survey

SUFFIX = ".people"
FILE = "people.yaml"
EARLIER = "people.before.yaml"
"""The latest that was replaced; those before it have numbers."""
_ALL_EARLIER = "people.before*.yaml"
_SURVEY, _MADE_FROM = "survey-", "made-from.json"
_SHORT_HASH = 16
_SAMPLE_BYTES = 1 << 20


def folder_of(clip: Path) -> Path:
    """``<stem>.people`` beside the clip."""
    return clip.with_name(clip.stem + SUFFIX)


@dataclass(frozen=True, eq=False)
class SavedPeople:
    """A people.yaml with the survey that its track numbers belong to."""

    file: PeopleFile
    survey: Survey
    made_from: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> SavedPeople | None:
        """None: there is no people.yaml. Raises UsageError for whatever is wrong with it."""
        if not path.exists():
            return None
        try:
            return cls.read(path)
        except (UsageError, StoreError, OSError) as error:
            raise UsageError(f"{error} (to start over, add `force`: the old file is kept as {EARLIER})") from error

    @classmethod
    def read(cls, path: Path) -> SavedPeople:
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

    def about(self, clip: Clip, made_from: Record) -> SavedPeople:
        """With the clip's identity as it is written today. Raises UsageError where it is another clip."""
        path = clip.info.path
        if self.made_from.get("input") not in (made_from["input"], _hash_of_samples(path)):
            known = self.file.clip.name if self.file.clip is not None else "another video"
            what = "has changed since it was made" if known == path.name else f"it is about {known}"
            raise UsageError(
                f"{self.file.path}: does not fit {path}: {what}. Make a new one: iconface-video people "
                f"{path} -o FOLDER (or with `force`, which starts over and keeps the old file as {EARLIER})"
            )
        return replace(self, made_from={**self.made_from, "input": made_from["input"]})

    def changed(self, made_from: Record) -> list[str]:
        """What a survey would be made from otherwise today, for people."""
        return changes(self.made_from, made_from)

    def applied(self, made_from: Record, survey_again: Callable[[], Survey]) -> tuple[ChosenPeople, list[str]]:
        """The whole clip's people as the file has them, and notes; with other settings the clip is surveyed again, and the file
        carried over to that.
        """
        # The file says who is who: how alike tracks must be to be grouped no longer matters.
        changed = changes(*({**parts, "grouping": None} for parts in (self.made_from, made_from)))
        if not changed:
            chosen = apply_people_file(self.file, self.survey)
            return chosen, list(chosen.notes)
        survey = survey_again()
        carried = migrate(self.file, self.survey, survey)
        notes = [
            f"the clip was surveyed again for {self.file.path}, which was made with other settings ({', '.join(changed)}); "
            "`iconface-video people` with the present ones saves that time"
        ]
        chosen = apply_people_file(replace(self.file, entries=carried.entries, nobody=carried.nobody), survey)
        return chosen, [*notes, *carried.notes, *chosen.notes]


def check_people(path: Path, clip: Clip, made_from: Record) -> ChosenPeople:
    """Hold a people.yaml against its survey, without surveying anything. Raises as `SavedPeople.read` and `about` do."""
    saved = SavedPeople.read(path).about(clip, made_from)
    return apply_people_file(saved.file, saved.survey)


def save_people(folder: Path, clip: Path, survey: Survey, made_from: Record, before: SavedPeople | None) -> list[str]:
    """Survey and people.yaml, with what the user wrote in the one `before`; what is replaced is kept. Returns notes."""
    entries: Sequence[PersonEntry] = entries_of(survey)
    nobody: Sequence[int] = ungrouped(survey)
    notes = []
    if before is not None:
        carried = migrate(before.file, before.survey, survey)
        entries, nobody = carried.entries, carried.nobody
        changed = ", ".join(before.changed(made_from))
        notes = [
            f"surveyed again ({changed}); what you wrote was carried over, the file as it was is {EARLIER}",
            *carried.notes,
        ]
    draft = PeopleFile(folder / FILE, clip, _name_of(survey), tuple(entries), tuple(nobody))
    place = folder / f"{_SURVEY}{draft.survey}"
    save_survey(survey, place)
    write_whole(place / _MADE_FROM, lambda out: out.write(json.dumps(made_from, indent=1).encode()))
    _write_file(draft, survey)
    _remove_unused_surveys(folder)
    return notes


def _name_of(survey: Survey) -> str:
    return hash_survey(survey)[:_SHORT_HASH]


def _hash_of_samples(path: Path) -> str:
    """What the first releases knew a video by: its size, first, middle and last megabyte. What was written then stays good."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        for start in (0, max(0, size // 2), max(0, size - _SAMPLE_BYTES)):
            file.seek(start)
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def _write_file(draft: PeopleFile, survey: Survey) -> None:
    """people.yaml, with a remark on each person; the one that stands there is kept."""
    each_by_itself = replace(draft, entries=tuple(replace(entry, same_as=None) for entry in draft.entries))
    seen = {item.person: item.facts for item in summarise_people(apply_people_file(each_by_itself, survey))}
    facts = {entry.number: seen[entry.number - 1] for entry in draft.entries if entry.number - 1 in seen}
    assert draft.clip is not None
    text = people_text(draft.entries, draft.nobody, clip=draft.clip, survey=draft.survey, path=draft.path, facts=facts)
    if draft.path.exists():
        old = draft.path.read_bytes()
        kept = draft.path.with_name(EARLIER)
        _make_way(kept, old)
        write_whole(kept, lambda out: out.write(old))
    write_whole(draft.path, lambda out: out.write(text.encode()))


def _make_way(kept: Path, old: bytes) -> None:
    """What was kept before keeps another name: it may be what the user has written."""
    if kept.exists() and kept.read_bytes() != old:
        names = (kept.with_name(f"{kept.stem}-{number}{kept.suffix}") for number in count(2))
        kept.rename(next(name for name in names if not name.exists()))


def _remove_unused_surveys(folder: Path) -> None:
    """Those of `find_people` that neither people.yaml nor the files before it name."""
    named = "".join(
        path.read_text(encoding="utf-8", errors="replace")
        for path in (folder / FILE, *folder.glob(_ALL_EARLIER))
        if path.exists()
    )
    for place in folder.glob(_SURVEY + _SHORT_HASH * "[0-9a-f]"):
        if (place / _MADE_FROM).is_file() and place.name.removeprefix(_SURVEY) not in named:
            for path in (path for pattern in (_MADE_FROM, *SURVEY_FILES) for path in place.glob(pattern)):
                path.unlink(missing_ok=True)
            with suppress(OSError):  # somebody put something else in it
                place.rmdir()
