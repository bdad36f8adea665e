"""The people of a survey for contact sheets and reports (screen time, when, how often, how well seen), and their people.yaml: a file
for people to edit, with every field explained in it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from iconface_video.identity.people_choice import ChosenPeople, track_number
from iconface_video.identity.people_file import PersonEntry
from iconface_video.types import Survey, Track

MOMENTS = 24
"""Pictures of one person that are shown at most."""
_LEAST_MOMENTS = 6
"""A person of few tracks is shown more than once in each."""
_APART_SECONDS = 0.5


@dataclass(frozen=True)
class Moment:
    """One frame in which a person is seen well."""

    track_id: int
    row: int
    """Of the track's arrays."""
    pts: int
    seconds: float
    """After the clip's first frame."""
    quality: float

    @property
    def number(self) -> int:
        """The track's, as people call it."""
        return self.track_id + 1


@dataclass(frozen=True)
class PersonSummary:
    """One person, in numbers that people read."""

    person: int | None
    """0-based; None: a track of nobody."""
    name: str
    """Empty: not named."""
    is_skipped: bool
    photo_count: int
    """Files and folders that the user gave."""
    tracks: tuple[int, ...]
    """Numbers, 1-based."""
    shot_count: int
    seconds: float
    """Screen time."""
    first_seconds: float
    """After the clip's first frame."""
    last_seconds: float
    quality: float
    """0..1, of the better half of the frames in which the face was detected."""
    face_px: float
    """Median height of the face."""
    spans: tuple[tuple[float, float], ...]
    """(from, to) in seconds, of each track, in time order."""
    moments: tuple[Moment, ...]
    """The best of every track, in time order; up to `MOMENTS`."""

    @property
    def title(self) -> str:
        """The name, or "Person 3"."""
        return self.name or ("Nobody in particular" if self.person is None else f"Person {self.person + 1}")

    @property
    def facts(self) -> str:
        """One line: "seen 12.4 s, 0:00:01 to 0:00:34, in 3 tracks and 2 shots; face 84 px, quality 0.62"."""
        return (
            f"seen {self.seconds:.1f} s, {timecode(self.first_seconds)} to {timecode(self.last_seconds)}, "
            f"in {_counted(len(self.tracks), 'track')} and {_counted(self.shot_count, 'shot')}; "
            f"face {self.face_px:.0f} px, quality {self.quality:.2f}"
        )


def summarise_people(choice: ChosenPeople) -> tuple[PersonSummary, ...]:
    """Everybody in the order of their numbers; tracks of nobody last, together."""
    groups: dict[int, list[Track]] = {}
    alone: list[Track] = []
    for track in choice.survey.tracks:
        if track.person is None:
            alone.append(track)
        else:
            groups.setdefault(track.person, []).append(track)
    people = [_summary(choice, person, groups[person]) for person in sorted(groups)]
    return tuple([*people, _summary(choice, None, alone)] if alone else people)


def clip_seconds(survey: Survey) -> float:
    """From the first surveyed frame to the end of the last."""
    return float((survey.last_pts - survey.first_pts) * survey.info.time_base) + _frame_seconds(survey)


def timecode(seconds: float) -> str:
    """ "0:01:02.3", as `--start` takes it."""
    tenths = int(seconds * 10 + 1e-6)
    return f"{tenths // 36000}:{tenths // 600 % 60:02d}:{tenths // 10 % 60:02d}.{tenths % 10}"


def _summary(choice: ChosenPeople, person: int | None, tracks: Sequence[Track]) -> PersonSummary:
    survey = choice.survey
    in_time = sorted(tracks, key=lambda track: (int(track.pts[0]), track.track_id))
    frame = _frame_seconds(survey)
    spans = tuple((_seconds(survey, int(track.pts[0])), _seconds(survey, int(track.pts[-1])) + frame) for track in in_time)
    quality = np.concatenate([track.quality[track.scores > 0] for track in tracks])
    heights = np.concatenate([track.boxes[:, 3] - track.boxes[:, 1] for track in tracks])
    return PersonSummary(
        person=person,
        name="" if person is None else choice.names.get(person, ""),
        is_skipped=person in choice.skipped,
        photo_count=0 if person is None else len(choice.photos.get(person, ())),
        tracks=tuple(sorted(track_number(track) for track in tracks)),
        shot_count=len({track.shot for track in tracks}),
        seconds=sum(last - first for first, last in spans),
        first_seconds=spans[0][0],
        last_seconds=max(last for _, last in spans),
        quality=float(np.sort(quality)[len(quality) // 2 :].mean()) if len(quality) else 0.0,
        face_px=float(np.median(heights)),
        spans=spans,
        moments=_moments(survey, in_time),
    )


def _moments(survey: Survey, tracks: Sequence[Track]) -> tuple[Moment, ...]:
    """The best frame of each track; more of each where there are few tracks, and only the best tracks where there are many."""
    each = max(1, -(-_LEAST_MOMENTS // len(tracks)))
    best = [moment for track in tracks for moment in _best_of(survey, track, each)]
    kept = sorted(best, key=lambda moment: -moment.quality)[:MOMENTS]
    return tuple(sorted(kept, key=lambda moment: moment.pts))


def _best_of(survey: Survey, track: Track, count: int) -> list[Moment]:
    """Up to `count` good frames that lie apart in time."""
    found: list[Moment] = []
    for row in np.argsort(-track.quality, kind="stable"):
        pts = int(track.pts[row])
        moment = Moment(track.track_id, int(row), pts, _seconds(survey, pts), float(track.quality[row]))
        if found and moment.quality <= 0:
            break
        if all(abs(moment.seconds - other.seconds) >= _APART_SECONDS for other in found):
            found.append(moment)
        if len(found) == count:
            break
    return found


def _seconds(survey: Survey, pts: int) -> float:
    return float((pts - survey.info.first_pts) * survey.info.time_base)


def _frame_seconds(survey: Survey) -> float:
    """Mean length of one frame."""
    if survey.frame_count < 2:
        return 0.0
    return float((survey.last_pts - survey.first_pts) * survey.info.time_base) / (survey.frame_count - 1)


def _counted(number: int, one: str) -> str:
    return f"{number} {one}{'' if number == 1 else 's'}"


_HEAD = """\
# Who is in {clip}. Change this file, save it, and restore with it:
#
#   iconface-video run {call} --people {file}
#
# Pictures of everybody are in people.html and people.png beside this file. `iconface-video people` may be run again at any
# time: what you wrote here stays, and the pictures show it.
#
#   name     What you call the person. Each name once.
#   photos   Clear photos of this person: files or folders, as seen from the folder of this file.
#            [anna.jpg, "holiday 1998", ../album/anna2.png]
#            They change this person's faces and nobody else's.
#   known    Who of the people that you added with `iconface-video people add` it is. Empty: whom the likeness shows, if anybody;
#            no: none of them, however alike.
#   learn    yes: the model learns this person from the photos before it restores, a minute or two; no: never.
#            Empty: as --personalize says.
#   skip     true: this person's faces are left as they are.
#   same_as  The number or name of another person here who is the same human. Both become one, under that number.
#   tracks   Where the person is seen: the numbers below the pictures. Is a picture of somebody else? Take its number out
#            and write it at the right person, or at a new one: copy a block to the end and give it a number of its own.
#
# Lines that begin with # are remarks; the program does not read them.
"""
_NOBODY = """
# Faces that are seen too poorly to tell whose they are: each is restored by itself. Give the number to a person if you know.
"""


def people_text(
    entries: Sequence[PersonEntry],
    nobody: Sequence[int],
    *,
    clip: Path,
    survey: str,
    path: Path,
    facts: Mapping[int, str],
) -> str:
    """The whole file. path: where it will stand.  facts: person's number -> one line for people to read."""
    shown = _seen_from(clip, path.parent)
    head = _HEAD.format(clip=clip.name, call=_quoted(str(clip)), file=_quoted(str(path)))
    parts = [
        head,
        f"clip: {_scalar(shown)}\n",
        "# Which survey the track numbers belong to. Please leave it as it is.\n",
        f"survey: {_scalar(survey)}\n",
        "\npeople:\n" if entries else "\npeople: []\n",
    ]
    parts += [_block(entry, facts.get(entry.number, ""), path.parent) for entry in entries]
    if nobody:
        parts += [_NOBODY, f"nobody: [{_joined(nobody)}]\n"]
    return "".join(parts)


def _block(entry: PersonEntry, fact: str, folder: Path) -> str:
    photos = ", ".join(_scalar(_seen_from(photo, folder)) for photo in entry.photos)
    lines = [
        f"- person: {entry.number}" + (f"   # {fact}" if fact else ""),
        f"  name: {_scalar(entry.name)}",
        f"  photos: [{photos}]",
        f"  known: {_scalar(entry.known) if entry.known else ''}".rstrip(),
        f"  learn: {'' if entry.learn is None else 'yes' if entry.learn else 'no'}".rstrip(),
        f"  skip: {'true' if entry.skip else 'false'}",
        f"  same_as: {entry.same_as or ''}".rstrip(),
        f"  tracks: [{_joined(entry.tracks)}]",
    ]
    return "\n".join(lines) + "\n\n"


def _joined(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def _seen_from(path: Path, folder: Path) -> str:
    """With forward slashes, relative where that is possible (not between two drives)."""
    try:
        return Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix()
    except ValueError:
        return path.absolute().as_posix()


def _scalar(value: str) -> str:
    """One value in YAML; anything that YAML would not read back as this text is quoted."""
    style = None if value and not set(value) & set(",[]{}") else '"'
    return yaml.safe_dump(value, default_style=style, allow_unicode=True, width=10_000).splitlines()[0]


def _quoted(text: str) -> str:
    """For a shell line that a person copies."""
    return f'"{text}"' if any(letter in text for letter in " ()&;'") else text
