"""A folder of aligned faces, cut out of the one portrait in the public domain, and ONNX graphs written by hand."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.evaluate.onnx_graph import dimming_graph

FACE_CENTER, FACE_SIDE = (222, 128), 190
"""px in scikit-image's astronaut: roughly the FFHQ frame around the face."""


def portrait(turn: float, zoom: float, light: float, size: int) -> np.ndarray:
    """(size, size, 3) RGB: the face in the FFHQ frame, turned by degrees and scaled a little, brighter or darker."""
    from skimage import data

    matrix = cv2.getRotationMatrix2D(FACE_CENTER, turn, zoom * size / FACE_SIDE)
    matrix[:, 2] += size / 2 - np.array(FACE_CENTER)
    face = cv2.warpAffine(data.astronaut(), matrix, (size, size), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT_101)
    return np.clip(face * light, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def faces_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight photos of 96 px, all in the 'val' split: four named anna, four (mirrored, greyish) named ben."""
    folder = tmp_path_factory.mktemp("faces")
    lines = ["file,split,identity"]
    for name in ("anna", "ben"):
        for number in range(4):
            face = portrait(turn=2.0 * number - 3, zoom=1 + 0.03 * number, light=1 - 0.06 * number, size=96)
            if name == "ben":
                face = np.clip(face[:, ::-1] * 0.5 + 60, 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"{name}_{number}.png"), face[..., ::-1])
            lines.append(f"{name}_{number}.png,val,{name}")
    (folder / "index.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def dimming_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A "restorer" with CodeFormer's two inputs: gives back w times the picture; 128 px, one picture at a time."""
    path = tmp_path_factory.mktemp("onnx") / "dim.onnx"
    path.write_bytes(dimming_graph(side=128))
    return path
