"""The people that the user has added: photos of their faces and what was learnt of them, in one plain folder.

PEOPLE/NAME/person.json                name, the photos' file names, checksums; written last
PEOPLE/NAME/faces/01.png ...           the face in each photo, FFHQ frame, surest first
PEOPLE/NAME/faces.npz                  their embeddings (n, 512) float32, raw, and heights in px
PEOPLE/NAME/learnt/BASE.safetensors    what was learnt beside the weights whose hash begins so
PEOPLE/NAME/used-in.txt                work folders of runs that recognised the person: copies may lie there

It can be copied, looked at and deleted like any folder; nobody but its owner may read it, and nothing of it leaves the machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import platformdirs

from iconface_video.errors import CheckpointError, OutputError, StoreError, UsageError
from iconface_video.files import PARTIAL, aside, checksum, read_arrays, write_whole
from iconface_video.identity.anchors import aggregate
from iconface_video.identity.grouping import mean_direction
from iconface_video.identity.references import Embed, ReferencePhoto
from iconface_video.personalize.photos import PhotoFace
from iconface_video.personalize.recipe import PersonalizeSettings
from iconface_video.settings import nearest
from iconface_video.types import Float32

if TYPE_CHECKING:
    from iconface_video.personalize.person_weights import PersonWeights

FOLDER_VARIABLE = "ICONFACE_VIDEO_PEOPLE"
"""Environment variable that names another folder than the user's own."""
FORMAT = 1
ALIKE = 0.55
"""Cosine of two people's anchors from which the user is told that a run may take one for the other."""
_FACTS, _FACES, _PICTURES, _LEARNT, _USED_IN = "person.json", "faces.npz", "faces", "learnt", "used-in.txt"
_PRIVATE = 0o700
_LONGEST_NAME = 60
_HASH_LETTERS = 16
_REFUSED_IN_NAMES = '/\\:*?"<>|'


@dataclass(frozen=True, eq=False)
class KnownPerson:
    """Somebody in the library."""

    name: str
    faces: tuple[PhotoFace, ...]
    """Surest first; each `path` is the photo's own file name."""
    folder: Path

    @property
    def direction(self) -> Float32:
        """(512,) unit, of all photos."""
        return aggregate([face.embedding for face in self.faces]).direction

    @property
    def evidence(self) -> Float32:
        """(512,) the direction, its length the root of how far the photos agree: the more photos an anchor stands on, the more of what all faces
        have in common is left in it. With this length one threshold fits one photo and eight (docs/people.md)."""
        agreement = float(np.linalg.norm(mean_direction(np.stack([face.embedding for face in self.faces]))))
        return np.asarray(self.direction * np.sqrt(agreement), np.float32)

    @property
    def hash(self) -> str:
        """SHA-256 of the photos' faces."""
        digest = hashlib.sha256()
        for face in self.faces:
            digest.update(f"{face.crop.shape}".encode() + np.ascontiguousarray(face.crop).tobytes())
        return digest.hexdigest()

    def seen_by(self, embed: Embed) -> KnownPerson:
        """With embeddings of another encoder, as of a later release: those of two encoders say nothing about each other."""
        raw = embed([face.crop for face in self.faces])
        return replace(self, faces=tuple(replace(face, embedding=row) for face, row in zip(self.faces, raw)))

    def references(self) -> list[ReferencePhoto]:
        """The photos as a run takes them."""
        from iconface_video.faces.landmark_network import find_landmarks, five_points, load_landmark_network

        points = five_points(find_landmarks(load_landmark_network(), [face.crop for face in self.faces]))
        return [
            ReferencePhoto(face.path, face.crop, face.embedding, (), self.name, face.face_px, found)
            for face, found in zip(self.faces, points)
        ]

    def learnt_file(self, base: str) -> Path:
        """Where what was learnt beside a base is. base: its `weights_hash`."""
        return self.folder / _LEARNT / f"{base[:_HASH_LETTERS]}.safetensors"


class PeopleLibrary:
    """All people in a folder. The folder need not exist: then there is nobody."""

    def __init__(self, folder: Path | None = None) -> None:
        """folder: None: the one that the environment names, or the user's own."""
        self.folder = folder or people_folder()

    def names(self) -> list[str]:
        """Of everybody, sorted. Raises StoreError where the folder cannot be read."""
        try:
            items = list(self.folder.iterdir()) if self.folder.is_dir() else []
        except OSError as error:
            raise StoreError(f"{self.folder}: the people in it cannot be read ({error.strerror})") from error
        return sorted(item.name for item in items if not item.name.startswith(".") and (item / _FACTS).is_file())

    def find(self, name: str) -> str:
        """The name as it is kept, whatever its letters' case. UsageError where nobody is called so."""
        known = self.names()
        found = next((item for item in known if item.casefold() == name.strip().casefold()), None)
        if found is None:
            raise UsageError(f"nobody in {self.folder} is called '{name}'.{nearest(name, known)}")
        return found

    def load(self, name: str) -> KnownPerson:
        """Raises UsageError for a name that is not there, StoreError for a damaged folder."""
        folder = self.folder / self.find(name)
        try:
            facts = json.loads((folder / _FACTS).read_bytes())
            _check_files(folder, facts)
            arrays = read_arrays(folder / _FACES)
            faces = [
                PhotoFace(Path(str(photo)), _read_png(folder / _PICTURES / _picture_name(row)), embedding, float(px))
                for row, (photo, embedding, px) in enumerate(zip(facts["photos"], arrays["embeddings"], arrays["face_px"]))
            ]
            return KnownPerson(str(facts["name"]), tuple(faces), folder)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise StoreError(
                f"{folder}: damaged ({reason}). Run `iconface-video people forget {name}` and add the photos again."
            ) from error

    def everybody(self) -> list[KnownPerson]:
        return [self.load(name) for name in self.names()]

    @property
    def hash(self) -> str:
        """SHA-256 of who is in it, with which photos; cheap."""
        digest = hashlib.sha256()
        for name in self.names():
            with suppress(OSError):
                digest.update(f"{name}/{checksum(self.folder / name / _FACTS)}/".encode())
        return digest.hexdigest()

    def note_use(self, name: str, work: Path) -> None:
        """A run that works in this folder recognised the person: copies of the photos lie there until it is done."""
        path = self.folder / name / _USED_IN
        folders = dict.fromkeys([*(str(folder) for folder in self.used_in(name)), str(work.absolute())])
        with suppress(OSError):  # a library on a disk that cannot be written to
            write_whole(path, lambda file: file.write("".join(f"{folder}\n" for folder in folders).encode()))

    def used_in(self, name: str) -> list[Path]:
        """Work folders that are still there of runs that recognised a person. Raises UsageError for a name that is not there."""
        try:
            lines = (self.folder / self.find(name) / _USED_IN).read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        return [Path(line) for line in lines if line and Path(line).is_dir()]

    def save(self, name: str, faces: Sequence[PhotoFace]) -> KnownPerson:
        """Keep somebody's photos; whoever had the name before is replaced, with all that was learnt from the older photos.

        Raises UsageError for a name that cannot be kept, OutputError where the folder cannot be written.
        """
        name = checked_name(name)
        earlier = [known for known in self.names() if known.casefold() == name.casefold()]
        target = self.folder / (earlier[0] if earlier else name)
        unfinished = aside(target, PARTIAL)
        try:
            self.folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            self.folder.chmod(_PRIVATE)
            unfinished.mkdir(mode=_PRIVATE)
            _write(unfinished, target.name, faces)
            if target.exists():
                if (target / _USED_IN).is_file():
                    shutil.copy2(target / _USED_IN, unfinished / _USED_IN)
                replaced = aside(target, PARTIAL)
                os.rename(target, replaced)
                os.rename(unfinished, target)
                shutil.rmtree(replaced)
            else:
                os.rename(unfinished, target)
        except OSError as error:
            raise OutputError(f"{self.folder}: '{name}' cannot be kept there ({error.strerror or error})") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return self.load(target.name)

    def forget(self, name: str) -> Path:
        """Delete somebody: faces, embeddings and all that was learnt. Returns the folder that is gone.

        Raises UsageError for a name that is not there, OutputError where it cannot be deleted.
        """
        folder = self.folder / self.find(name)
        try:
            gone = aside(folder, PARTIAL)
            os.rename(folder, gone)  # at once, so that what is deleted half is nobody
            shutil.rmtree(gone)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be deleted ({error.strerror or error})") from error
        return folder

    def alike(self, person: KnownPerson) -> list[tuple[str, float]]:
        """Others who look so much like a person that a run may take one for the other, with the cosine, most alike first."""
        others = [other for other in self.everybody() if other.name != person.name]
        found = [(other.name, float(other.direction @ person.direction)) for other in others]
        return sorted(((name, score) for name, score in found if score >= ALIKE), key=lambda item: -item[1])


def people_folder() -> Path:
    """The library's folder: the one that the environment names, or `people` in the user's data folder."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else platformdirs.user_data_path("iconface-video", appauthor=False) / "people"


def checked_name(name: str) -> str:
    """The name, stripped. UsageError where no folder can be called so."""
    stripped = " ".join(name.split())
    if not stripped or len(stripped) > _LONGEST_NAME or stripped[0] == "." or stripped[-1] == ".":
        raise UsageError(
            f"'{name}' cannot be a person's name here: 1 to {_LONGEST_NAME} letters that neither begin nor end with a dot"
        )
    wrong = [sign for sign in stripped if sign in _REFUSED_IN_NAMES or not sign.isprintable()]
    if wrong:
        raise UsageError(f"'{name}' cannot be a person's name here: it holds {wrong[0]!r}, which no folder's name may")
    return stripped


def keep_learnt(person: KnownPerson, weights: PersonWeights) -> Path:
    """Write what was learnt into the person's folder. Raises OutputError."""
    from iconface_video.personalize.person_weights import save_person  # with torch, which looking into the folder does not need

    path = person.learnt_file(weights.facts.base)
    try:
        path.parent.mkdir(mode=_PRIVATE, exist_ok=True)
        save_person(weights, path)
    except OSError as error:
        raise OutputError(f"{path}: what was learnt cannot be kept there ({error.strerror or error})") from error
    return path


def learnt(person: KnownPerson, base: str, settings: PersonalizeSettings) -> PersonWeights | None:
    """What was learnt of a person beside a base with these settings; None where that has to be done (again)."""
    from iconface_video.personalize.person_weights import load_person

    try:
        found = load_person(person.learnt_file(base))
    except CheckpointError:
        return None
    return found if found.facts.base == base and found.facts.settings == settings else None


def _write(folder: Path, name: str, faces: Sequence[PhotoFace]) -> None:
    (folder / _PICTURES).mkdir(mode=_PRIVATE)
    for row, face in enumerate(faces):
        data = cv2.imencode(".png", np.ascontiguousarray(face.crop[..., ::-1]))[1].tobytes()
        (folder / _PICTURES / _picture_name(row)).write_bytes(data)
    arrays: dict[str, Any] = {
        "embeddings": np.stack([face.embedding for face in faces]),
        "face_px": np.array([face.face_px for face in faces], np.float32),
    }
    with open(folder / _FACES, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    files = [folder / _FACES, *(folder / _PICTURES / _picture_name(row) for row in range(len(faces)))]
    facts = {
        "format": FORMAT,
        "name": name,
        "photos": [face.path.name for face in faces],
        "checksums": {path.relative_to(folder).as_posix(): checksum(path) for path in files},
    }
    text = json.dumps(facts, indent=1)
    write_whole(folder / _FACTS, lambda file: file.write(text.encode()))


def _check_files(folder: Path, facts: dict[str, Any]) -> None:
    """ValueError for a file that is not as it was written."""
    if facts["format"] != FORMAT:
        raise ValueError(f"format {facts['format']!r}, this release reads {FORMAT}")
    wanted = [_FACES, *(f"{_PICTURES}/{_picture_name(row)}" for row in range(len(facts["photos"])))]
    for name in wanted:
        if checksum(folder / name) != facts["checksums"][name]:
            raise ValueError(f"{name} has another content")


def _picture_name(row: int) -> str:
    return f"{row + 1:02d}.png"


def _read_png(path: Path) -> Any:
    """(S, S, 3) RGB."""
    picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(f"{path.name} is no picture")
    return np.ascontiguousarray(picture[..., ::-1])
