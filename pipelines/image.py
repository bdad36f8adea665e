"""One photo: find its faces, restore each, put them back. Or one face that already is an aligned crop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from iconface_video.errors import OutputError, UsageError
from iconface_video.faces.align import TEMPLATE_SIZE, compose, crop_from_display, cut_crop, estimate_parameters, invert, scaling
from iconface_video.faces.detector import Detector
from iconface_video.files import write_whole
from iconface_video.identity.anchors import make_anchor, self_anchor
from iconface_video.identity.references import Embed, ReferencePhoto, find_faces, load_photo, photo_detector
from iconface_video.render.match import match_color
from iconface_video.render.paste import crop_mask, warp_back
from iconface_video.restore.face_model import FaceModel
from iconface_video.restore.framing import Framing, framing_of
from iconface_video.restore.noise import NoiseKey, fixed_noise
from iconface_video.session.clip import OnProgress
from iconface_video.session.engines.job import load_restorer
from iconface_video.session.networks import load_embedder
from iconface_video.settings import RunSettings
from iconface_video.types import Float32, Float64, IdentityAnchor, TrackKey, UInt8
from iconface_video.video.enlarge import enlarged_picture
from iconface_video.video.pictures import read_picture

Picture = UInt8 | Path | str


@dataclass(frozen=True, eq=False)
class RestoredPhoto:
    """What `restore_faces` gives back."""

    image: UInt8
    """(h, w, 3) RGB, the input's size times the setting `scale`."""
    faces: int
    """Faces that were restored."""
    notes: tuple[str, ...] = ()
    """What a person should know: what was learnt, which photos were left out."""


def restore_faces(
    image: Picture,
    references: Sequence[Picture] = (),
    *,
    aligned: bool = False,
    settings: RunSettings | None = None,
    model: FaceModel | None = None,
    embed: Embed | None = None,
    on_progress: OnProgress | None = None,
) -> RestoredPhoto:
    """Restore the faces of one picture.

    Args:
        image: a file, or (h, w, 3) uint8 RGB.
        references: photos of the person, files or arrays in which the face is found (with `aligned` arrays may be crops).
            With several faces in the picture they go to the one that is most like them.
        aligned: the whole picture is one face in the FFHQ frame, square, of any size.
        model, embed: loaded as the settings say when not given.
        on_progress: told while the person is learnt (`settings.restore.personalize`), before the first face is restored.

    Raises InputError or ReferencePhotoError naming the file; UsageError for an aligned picture that is not square.
    """
    settings = settings or RunSettings()
    picture = _read(image)
    if aligned and picture.shape[0] != picture.shape[1]:
        raise UsageError(f"an aligned face is square, this picture is {picture.shape[1]}x{picture.shape[0]} px")
    detector = photo_detector(settings.survey)
    embed = embed or load_embedder()
    found = _whole_picture(picture) if aligned else _found_faces(picture, detector)
    if not found:
        return RestoredPhoto(enlarged_picture(picture, settings.render.scale), 0)
    model = model or load_restorer(settings.restore)
    crops = [cut_crop(picture, crop_from_display(parameters, TEMPLATE_SIZE), TEMPLATE_SIZE) for parameters in found]
    photos = _photos(references, detector, embed, settings)
    anchors, shown = _anchors(crops, photos, embed, settings)
    model, notes = _knowing_people(model, anchors, shown, photos, embed(crops), settings, on_progress)
    faces = [_Face(number, *face) for number, face in enumerate(zip(found, anchors))]
    out: Float32 = (enlarged_picture(picture, settings.render.scale) / np.float32(255)).astype(np.float32)
    for face in faces:
        out = _restore_one(out, picture, face, model, settings, aligned)
    return RestoredPhoto((out * 255).round().clip(0, 255).astype(np.uint8), len(faces), notes)


@dataclass(frozen=True, eq=False)
class _Face:
    """One face of the picture, and who it is."""

    number: int
    parameters: Float64
    """(4,) as of a track (`faces.align`)."""
    anchor: IdentityAnchor


def _knowing_people(
    model: FaceModel,
    anchors: Sequence[IdentityAnchor],
    shown: int | None,
    photos: Sequence[ReferencePhoto],
    raw: Float32,
    settings: RunSettings,
    on_progress: OnProgress | None,
) -> tuple[FaceModel, tuple[str, ...]]:
    """The model, after it has learnt whom the settings want learnt; and what to know of that.

    shown: whose photos they are.  raw: (n, 512) of the picture's faces.
    """
    wish = settings.restore.personalize
    if wish == "off" or shown is None:
        return model, ()
    from iconface_video.personalize.photos import photo_faces
    from iconface_video.personalize.recipe import PersonalizeSettings
    from iconface_video.restore.iconface import IConFaceRestorer
    from iconface_video.restore.people import FaceOfPicture, PersonToLearn, anchor_key, learn_people, with_people
    from iconface_video.session.learning_people import choose_to_learn

    if not isinstance(model, IConFaceRestorer):
        return model, ()
    faces, own = [FaceOfPicture(number, row[None]) for number, row in enumerate(raw)], model
    least = settings.anchors.min_similarity
    person = PersonToLearn(f"face {shown + 1}", lambda: choose_to_learn(photo_faces(photos), least), wish=wish)
    people, recipe = {anchor_key(anchors[shown]): person}, PersonalizeSettings()
    tell = on_progress or (lambda event: None)
    with TemporaryDirectory(prefix="iconface-video-") as folder:
        place = Path(folder)
        found = learn_people(faces, dict(enumerate(anchors)), people, place, lambda: own, recipe, tell)
        return with_people(model, found.files), found.notes


def _read(image: Picture) -> UInt8:
    return image if isinstance(image, np.ndarray) else read_picture(Path(image), "photo")


def _whole_picture(picture: UInt8) -> list[Float64]:
    """Parameters that bring a square picture to the template's size."""
    scale = TEMPLATE_SIZE / picture.shape[0]
    shift = 0.5 * scale - 0.5
    return [np.array([np.log(scale), 0.0, shift, shift])]


def _found_faces(picture: UInt8, detector: Detector) -> list[Float64]:
    return [estimate_parameters(item.landmarks) for item in find_faces(picture, detector)]


def _photos(references: Sequence[Picture], detector: Detector, embed: Embed, settings: RunSettings) -> list[ReferencePhoto]:
    """Files before arrays; an array may be one aligned face."""
    scale = settings.anchors.picture_scale
    photos = [load_photo(Path(item), detector, embed, scale=scale) for item in references if not isinstance(item, np.ndarray)]
    arrays = [item for item in references if isinstance(item, np.ndarray)]
    for number, (array, row) in enumerate(zip(arrays, embed(arrays) if arrays else ())):
        photos.append(ReferencePhoto(Path(f"picture {number + 1}"), array, np.asarray(row, np.float32)))
    return photos


def _anchors(
    crops: Sequence[UInt8], photos: Sequence[ReferencePhoto], embed: Embed, settings: RunSettings
) -> tuple[list[IdentityAnchor], int | None]:
    """The photos' anchor for the face that is most like them, the face's own for the others; and which face that is."""
    own = embed(crops)
    anchors = [self_anchor(raw[None], settings.anchors) for raw in own]
    if not photos:
        return anchors, None
    raw = np.stack([photo.embedding for photo in photos])
    anchor = make_anchor(raw, [photo.crop for photo in photos], settings.anchors, "user")
    likeness = [float(item.direction @ anchor.direction) for item in anchors]
    shown = int(np.argmax(likeness))
    anchors[shown] = anchor
    return anchors, shown


def _restore_one(
    out: Float32,
    picture: UInt8,
    face: _Face,
    model: FaceModel,
    settings: RunSettings,
    aligned: bool,
) -> Float32:
    """Add one face's change to the picture (h, w, 3), 0..1."""
    extent = out.shape[1], out.shape[0]
    larger = extent[0] / picture.shape[1], extent[1] / picture.shape[0]
    face_px = max(larger) * TEMPLATE_SIZE / float(np.exp(face.parameters[0]))  # side of the crop in px of what comes out
    sizes = model.crop_sizes
    size = settings.restore.crop_size or next((s for s in sizes if s >= face_px), sizes[-1])
    framing = Framing() if aligned else framing_of(model)
    matrix = crop_from_display(framing.parameters(face.parameters), size)
    crop = framing.with_border(cut_crop(picture, matrix, size), matrix, (picture.shape[1], picture.shape[0]))
    key = NoiseKey(settings.restore.seed, TrackKey(0, 0, face.number), 0)
    noise = fixed_noise(key, model.noise_shape(size))[None]
    restored = model.restore(crop[None], [model.prepare(face.anchor, size)], noise)[0]
    residual = (restored.astype(np.float32) - crop.astype(np.float32)) / 255
    if settings.render.color_match:
        residual = match_color(residual)
    full = np.ones((size, size), np.float32)
    mask = full if aligned else crop_mask(size, settings.render.mask, settings.render.feather)
    if aligned:  # no border may be lost to the warp's edge
        change = cv2.resize(residual, extent, interpolation=cv2.INTER_CUBIC if extent[0] >= size else cv2.INTER_AREA)
        weight = np.ones(extent[::-1], np.float32)
    else:
        matrix = compose(matrix, invert(scaling(*larger)))
        change, weight = warp_back(residual, matrix, extent), warp_back(mask, matrix, extent)
    weight = weight * np.float32(settings.render.strength)
    return np.clip(out + weight[..., None] * change, 0, 1).astype(np.float32)


def write_picture(path: Path, picture: UInt8) -> None:
    """Encode by the suffix and rename into place: nothing half-written ever stands under `path`.

    Raises OutputError for a suffix that is no picture's, or a folder that cannot be written to.
    """
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix.lower() in (".jpg", ".jpeg") else []
    try:
        done, encoded = cv2.imencode(path.suffix or ".", picture[..., ::-1], quality)
    except cv2.error:
        done = False
    if not done:
        raise OutputError(f"{path}: '{path.suffix}' is not a picture format that can be written; use .png or .jpg")
    try:
        write_whole(path, lambda file: file.write(encoded.tobytes()))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
