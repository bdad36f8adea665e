"""Adding somebody to the library: look at the photos, choose, keep, learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from iconface_video.errors import ReferencePhotoError
from iconface_video.faces.detector import Detector
from iconface_video.faces.identity_encoder import IdentityEncoder, embed_crops
from iconface_video.identity.references import photos_in, why_none
from iconface_video.models.model import IConFaceModel
from iconface_video.personalize.learning import ShouldStop
from iconface_video.personalize.library import KnownPerson, PeopleLibrary, checked_name, keep_learnt, learnt
from iconface_video.personalize.person import personalize
from iconface_video.personalize.person_weights import PersonWeights, weights_hash
from iconface_video.personalize.photos import LeftOut, choose_photos, look_at
from iconface_video.personalize.recipe import PersonalizeSettings
from iconface_video.types import Progress


@dataclass(frozen=True, eq=False)
class AddedPerson:
    """Result of `add_person`."""

    person: KnownPerson
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    """What a person should know: group photos, others who look alike."""


def add_person(
    library: PeopleLibrary,
    name: str,
    photos: Sequence[Path],
    detector: Detector,
    encoder: IdentityEncoder,
    min_similarity: float,
    on_progress: Callable[[Progress], None] = lambda event: None,
) -> AddedPerson:
    """Keep a person's photos: to those that the library holds already, new ones are added.

    photos: files and folders of them.  min_similarity: faces are one person's from this mean cosine on.

    Raises UsageError for a name that cannot be kept, ReferencePhotoError where nobody can be told from the photos, OutputError,
    StoreError.
    """
    name = checked_name(name)
    paths = _files(photos)
    found, left_out = look_at(
        paths,
        detector,
        lambda crops: embed_crops(encoder, crops),
        lambda done, total: on_progress(Progress("anchors", done, total, unit="photos")),
    )
    earlier = [known for known in library.names() if known.casefold() == name.casefold()]
    before = [library.load(known).seen_by(lambda crops: embed_crops(encoder, crops)) for known in earlier]
    kept = [[face] for person in before for face in person.faces]
    chosen = choose_photos([*kept, *found], min_similarity)
    left_out = [*left_out, *chosen.left_out]
    if not chosen.faces:
        raise ReferencePhotoError(f"'{name}' cannot be learnt: no photo is left. {'; '.join(map(str, left_out))}")
    person = library.save(name, chosen.faces)
    alike = [
        f"{person.name} looks like {other} (similarity {score:.2f}): a run may take one for the other; "
        "say who is who in a people.yaml (`iconface-video people`)"
        for other, score in library.alike(person)
    ]
    return AddedPerson(person, tuple(left_out), (*chosen.notes, *alike))


def learn_person(
    person: KnownPerson,
    model: IConFaceModel,
    encoder: IdentityEncoder,
    settings: PersonalizeSettings,
    on_progress: Callable[[Progress], None] = lambda event: None,
    should_stop: ShouldStop = lambda: False,
) -> PersonWeights:
    """What is learnt of somebody beside this model: kept from before, or learnt now and kept. Raises Cancelled, OutputError."""
    before = learnt(person, weights_hash(model), settings)
    if before is not None:
        return before
    weights = personalize(
        model,
        person.seen_by(lambda crops: embed_crops(encoder, crops)).faces,
        settings,
        lambda done, total: on_progress(Progress("learn", done, total, unit="steps")),
        should_stop,
        encoder,
    )
    keep_learnt(person, weights)
    return weights


def _files(photos: Sequence[Path]) -> list[Path]:
    """All photos, those of folders by their names. Raises ReferencePhotoError."""
    paths: list[Path] = []
    for item in photos:
        if not item.exists():
            raise ReferencePhotoError(f"{item}: there is no such photo")
        inside = photos_in(item) if item.is_dir() else [item]
        if not inside:
            raise ReferencePhotoError(f"{item}: no photo in it: {why_none(item)}")
        paths += inside
    return paths
