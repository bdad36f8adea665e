"""The encoder's teacher: dlib's face network (CC0), run once over a set of FFHQ-framed pictures and stored. A training extra, never used at run time."""

from __future__ import annotations

import argparse
import csv
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from iconface_video.durable import write_whole
from iconface_video.errors import InputError
from iconface_video.faces.identity_encoder import template512_from_arcface112
from iconface_video.train.dlib_network import CHIP_SIZE, DlibFaceNetwork
from iconface_video.types import Float32, Float64, UInt8

TEACHER_SIZE = 128
"""Length of dlib's face descriptor."""

_FACE_BOX = (0.176, 0.305, 0.824, 0.891)
"""Where dlib's own detector finds the face in the FFHQ frame (median), as a share of its side: left, top, right, bottom."""


_CHIP_CENTER, _CHIP_SIDE = (257.6, 308.3), 341.4
"""dlib's chip in the 512-px FFHQ frame: its middle and side (median over 245 photos)."""


def chip_from_arcface112() -> Float64:
    """(2, 3) affine from px of the ArcFace frame (112 px) to px of dlib's chip (150 px), for the usual face."""
    scale = CHIP_SIZE / _CHIP_SIDE
    matrix = template512_from_arcface112() * scale
    # Edges scale, so pixel centres also move by half a px.
    matrix[:, 2] += (0.5 - np.array(_CHIP_CENTER)) * scale + CHIP_SIZE / 2 - 0.5
    return np.asarray(matrix, dtype=np.float64)


class Teacher:
    """dlib's ResNet on dlib's own framing (68 landmarks), each face with its mirror image. A good 97.9 % balanced verification accuracy
    on held-out people.
    """

    def __init__(self) -> None:
        try:
            import dlib
        except ImportError as error:
            raise InputError("the teacher needs dlib: pip install 'iconface-video[train]'") from error
        folder = models_folder()
        self._dlib: Any = dlib
        self._landmarks = dlib.shape_predictor(str(folder / "shape_predictor_68_face_landmarks.dat"))
        self.network = load_network()

    def chip(self, crop: UInt8) -> UInt8:
        """dlib's face chip (150, 150, 3) of one FFHQ-framed crop, uint8 (S, S, 3) RGB."""
        crop = np.ascontiguousarray(crop)
        chip = self._dlib.get_face_chip(crop, self._shape(crop), size=CHIP_SIZE, padding=0.25)
        return np.asarray(chip, dtype=np.uint8)

    def landmarks(self, crop: UInt8) -> Float32:
        """(68, 2) px: dlib's landmarks of one FFHQ-framed crop (jaw 0-16, brows, nose, eyes 36-47, mouth 48-67)."""
        found = self._shape(np.ascontiguousarray(crop))
        return np.array([(point.x, point.y) for point in found.parts()], dtype=np.float32)

    def _shape(self, crop: UInt8) -> Any:
        size = crop.shape[0]
        return self._landmarks(crop, self._dlib.rectangle(*(round(share * size) for share in _FACE_BOX)))

    @torch.no_grad()
    def embed(self, crops: Sequence[UInt8]) -> Float32:
        """(n, 128) descriptors of FFHQ-framed crops, each uint8 (S, S, 3) RGB: the mean of a face's and its mirror image's."""
        if not crops:
            return np.zeros((0, TEACHER_SIZE), dtype=np.float32)
        chips = torch.from_numpy(np.stack([self.chip(crop) for crop in crops])).permute(0, 3, 1, 2).float()
        both = torch.cat([chips, chips.flip(3)]).contiguous(memory_format=torch.channels_last)
        return np.asarray(self.network(both).view(2, len(crops), -1).mean(dim=0).numpy(), dtype=np.float32)


def load_network() -> DlibFaceNetwork:
    """dlib's network from the package face_recognition_models."""
    network = DlibFaceNetwork.load(models_folder() / "dlib_face_recognition_resnet_model_v1.dat")
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def models_folder() -> Path:
    # Found without importing the package: its __init__ needs pkg_resources, which new setuptools no longer bring.
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("the teacher's weights are missing: pip install 'iconface-video[train]'")
    return Path(spec.submodule_search_locations[0]) / "models"


def embed_folder(folder: Path, out: Path, batch: int = 32, save_every: int = 50) -> int:
    """Embed every picture of `folder`/index.csv (column "file") into `out` (npz: files (n,), embeddings (n, 128) float32).

    Goes on where an interrupted call stopped (stored every `save_every` batches). Gives back how many pictures were embedded; raises
    `InputError` for a missing index or picture.
    """
    done = load_teacher(out) if out.exists() else {}
    missing = [(file, path) for file, path in _pictures(folder) if file not in done]
    teacher = Teacher() if missing else None
    for number, start in enumerate(range(0, len(missing), batch)):
        part = missing[start : start + batch]
        assert teacher is not None
        vectors = teacher.embed([_read(path) for _, path in part])
        done.update(zip((file for file, _ in part), vectors))
        if number % save_every == save_every - 1:
            _store(out, done)
    if missing:
        _store(out, done)
    return len(missing)


def _store(out: Path, vectors: dict[str, Float32]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"files": np.array(list(vectors)), "embeddings": np.stack(list(vectors.values()))}
    write_whole(out, lambda file: np.savez(file, allow_pickle=False, **arrays))


def _pictures(folder: Path) -> Iterator[tuple[str, Path]]:
    index = folder / "index.csv"
    if not index.is_file():
        raise InputError(f"{index}: not found; a data set is a folder of pictures with an index.csv (column 'file')")
    with index.open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            yield row["file"], folder / row["file"]


def _read(path: Path) -> UInt8:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise InputError(f"{path}: listed in the index, but cannot be read as a picture")
    return np.ascontiguousarray(picture[:, :, ::-1], dtype=np.uint8)


def load_teacher(path: Path) -> dict[str, Float32]:
    """File name to (128,) descriptor, as `embed_folder` stored them."""
    if not path.is_file():
        raise InputError(f"{path}: teacher vectors not found; make them with python -m iconface_video.train.teacher")
    with np.load(path) as stored:
        return dict(zip(stored["files"].tolist(), stored["embeddings"].astype(np.float32)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="data sets: folders with an index.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder for <set>.npz")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    for folder in options.folders:
        count = embed_folder(folder, options.out / f"{folder.name}.npz")
        print(f"{folder.name}: {count} pictures embedded", flush=True)


if __name__ == "__main__":
    main()
