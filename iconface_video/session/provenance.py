"""What a run's results are made from: one record, of which each stage, each output and each people.yaml keeps its part.

A stage's part holds what came out of the stage before, not how it was made: a survey that is made again and comes out the same
leaves the restored faces valid. Records are compared whole. Other releases of libraries make faces again that one output would
mix with older ones; what is finished (an output, a people folder) is not made again for their sake alone.

The names in the records stand on disks: work folders, batch.json, made-from.json, the outputs' marks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from iconface_video import __version__
from iconface_video.identity.grouping import DecidedPeople, ReferenceChoice
from iconface_video.identity.people_choice import ChosenPeople
from iconface_video.restore.face_model import FaceModel
from iconface_video.session.clip import Clip
from iconface_video.session.engines.job import ModelFacts
from iconface_video.session.fingerprint import (
    differences,
    fingerprint,
    hash_anchors,
    hash_file,
    hash_folder,
    hash_survey,
    library_versions,
    output_mark,
    plain,
)
from iconface_video.session.networks import Networks
from iconface_video.settings import RestoreSettings, RunSettings, recorded
from iconface_video.types import IdentityAnchor, Survey
from iconface_video.video.display_light import SHOWN_LIGHT, display_light
from iconface_video.video.reader import VideoReader

Record = dict[str, Any]
"""Plain values, nested by name."""

_LIBRARIES = "libraries"
_HOW_NOT_WHAT = ("device", "dtype")
"""Restore settings that are wishes; what became of them is part of the model's identity."""
_SHOWN = ("seed", "steps", "guidance_scale", "crop_size", "start_sigma", "noise")
"""Restore settings that the mark states in plain."""
_SHORT, _SHORTEST = 16, 8


def restorer_record(networks: Networks, settings: RestoreSettings, model: FaceModel | ModelFacts) -> Record:
    """What restores, and how; the model's `identity` is part of it, where it has one. Raises CheckpointError."""
    return {
        "model": model.name,
        "weights": networks.weights(settings),
        "machine": dict(getattr(model, "identity", {})),
        "settings": {name: value for name, value in recorded(settings).items() if name not in _HOW_NOT_WHAT},
        _LIBRARIES: library_versions(),
    }


@dataclass(frozen=True)
class Provenance:
    """All that the results depend on, but for the video itself."""

    asked: RunSettings
    used: RunSettings
    """The same as they are followed: with reference pictures cut for the model, faces per model call as memory allows."""
    references: ReferenceChoice
    networks: Networks
    start: Fraction | None = None
    end: Fraction | None = None

    def clip(self, clip: Clip) -> Record:
        """The stretch of video that is worked on. Raises InputError when the file cannot be read, or has changed."""
        stretch = [None if moment is None else moment.pts for moment in (clip.start, clip.end)]
        facts = {"input": clip.reader.file.identity(), "read": _reading(clip.reader), "stretch": stretch}
        # The first releases looked at HDR in its own codes.
        return facts if display_light(clip.info.color) is None else {**facts, "light": SHOWN_LIGHT}

    def survey(self, clip: Clip) -> Record:
        """Of a survey that a work folder keeps."""
        return {**self.clip(clip), **self._finding, "embedder": self.networks.encoder, _LIBRARIES: library_versions()}

    def people(self, clip: Clip) -> Record:
        """Of the survey beside a people.yaml; it is of the whole clip."""
        found = {**self.clip(clip), **self._finding, "encoder": self.networks.encoder_hash, _LIBRARIES: library_versions()}
        del found["stretch"]
        return plain(found)

    @property
    def _finding(self) -> Record:
        grouping = {"same_person_similarity": self.used.anchors.same_person_similarity}
        return {"survey": recorded(self.used.survey), "grouping": grouping}

    def anchors(self, clip: Clip, chosen: ChosenPeople) -> Record:
        """chosen: whose faces, and photos of its own. Raises InputError for a photo that cannot be read."""
        own = [(chosen.title(person), path) for person, paths in self._own_photos(chosen).items() for path in paths]
        return {
            **self.clip(clip),
            "survey": hash_survey(chosen.restored),
            "photos": _shown(self.references.photos),
            "people": _known([*self.references.people, *own]),
            "anchors": recorded(self.used.anchors),
            "embedder": self.networks.encoder,
            _LIBRARIES: library_versions(),
            **self._told(chosen),
        }

    def _told(self, chosen: ChosenPeople) -> Record:
        """Of whom the user said that they are, or are not, somebody who is kept; nothing where nobody is concerned."""
        kept = {name.casefold() for name in self.networks.library.names()} if self.used.anchors.library else set()
        words = {**{person: name for person, name in chosen.names.items() if name.casefold() in kept}, **chosen.known}
        return {"told": sorted([person, word] for person, word in words.items())} if kept and words else {}

    def _own_photos(self, chosen: ChosenPeople) -> Mapping[int, Sequence[Path]]:
        decided = self.references.decided
        if decided is None:
            return chosen.photos
        return {person: [photo.path for photo in photos] for person, photos in decided.photos.items()}

    def faces(self, clip: Clip, survey: Survey, anchors: Mapping[int, IdentityAnchor], model: FaceModel | ModelFacts) -> Record:
        """Of the restored faces."""
        found = {"survey": hash_survey(survey), "anchors": hash_anchors(anchors)}
        return {**self.clip(clip), **found, **restorer_record(self.networks, self.used.restore, model)}

    @cached_property
    def output(self) -> Record:
        """Of a whole output. Raises InputError for a photo, CheckpointError for a model."""
        # Who does the work changes nothing in the result.
        sections = [item.name for item in fields(self.asked) if item.name != "engine"]
        values = {name: recorded(getattr(self.asked, name)) for name in sections}
        return {
            "settings": values,
            "photos": _photos(self.references),
            "stretch": [None if moment is None else str(moment) for moment in (self.start, self.end)],
            "model": self._model,
            "version": __version__,
            _LIBRARIES: library_versions(),
        }

    @property
    def _model(self) -> str | None:
        """None where the model is not asked."""
        if self.networks.model is not None:
            return self.networks.model.name
        is_idle = self.asked.render.strength <= 0 and not self.references
        return None if is_idle else self.networks.weights(self.asked.restore)

    @property
    def faces_mark(self) -> Record:
        """What an output's mark says of how its faces were restored; blending and encoding may change afterwards."""
        return {**self._mark, _LIBRARIES: fingerprint(**library_versions())[:_SHORTEST]}

    @property
    def _mark(self) -> Record:
        values = {name: value for name, value in self.output.items() if name not in ("settings", "version", _LIBRARIES)}
        sections = {name: value for name, value in self.output["settings"].items() if name not in ("render", "encode")}
        shown = {name: getattr(self.asked.restore, name) for name in _SHOWN}
        return {**shown, "made_from": fingerprint(**values, settings=sections)[:_SHORT]}

    def mark_differences(self, mark: Mapping[str, Any]) -> list[str]:
        """How an output's mark differs from what is wanted, for people; empty: not at all."""
        wanted = {"version": __version__, **self._mark, **output_mark(self.asked.render, self.asked.encode)}
        found = differences({name: mark.get(name) for name in wanted}, wanted)
        stated = [text for text in found if not text.startswith("made_from ")]
        return stated or (["the model, photos or other settings"] if found else [])


def _reading(reader: VideoReader) -> Record:
    """How the film is read, in the words of the first releases, whose records so stay good: what they had no word for (fields that
    are kept, or doubled) is new. Of a film without fields both are what "auto" was."""
    fields = reader.settings.fields
    word = fields if reader.splits else {"keep": "auto", "double": "auto", "half": "on", "weave": "off"}[fields]
    return {"deinterlace": word}


def changes(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """How two records differ, for people, but for releases of libraries; empty: not at all."""
    return differences(*({name: value for name, value in record.items() if name != _LIBRARIES} for record in (earlier, now)))


def other_releases(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Libraries that had another release then. Records of the first releases of this program do not say."""
    return differences(earlier.get(_LIBRARIES, {}), now.get(_LIBRARIES, {})) if _LIBRARIES in earlier else []


def _photos(references: ReferenceChoice) -> Record:
    """Raises InputError for a photo that cannot be read."""
    found = {
        "shown": _shown(references.photos),
        "known": _known(references.people),
        "file": None if references.file is None else hash_file(references.file),
    }
    return found if references.decided is None else {**found, "decided": _decided(references.decided)}


def _decided(people: DecidedPeople) -> str:
    chosen = people.chosen
    photos = {str(person): [hash_file(photo.path) for photo in photos] for person, photos in people.photos.items()}
    # What earlier releases did not know is left out where it says nothing.
    later = {name: value for name, value in (("strengths", people.shares), ("learn", chosen.learn)) if value}
    return fingerprint(
        survey=hash_survey(chosen.survey), names=chosen.names, skipped=sorted(chosen.skipped), photos=photos, **later
    )


def _shown(photos: Sequence[Path]) -> list[list[str]]:
    return [[path.name, hash_file(path)] for path in photos]


def _known(people: Sequence[tuple[str, Path]]) -> list[list[str]]:
    return [[name, hash_folder(path) if path.is_dir() else hash_file(path)] for name, path in people]
