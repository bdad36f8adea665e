"""Writing people.yaml: a file for people to edit, with every field explained in it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from iconface_video.identity.people_file import PersonEntry

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
