"""iconface-video: restore every face in a video, true to the person, steady through time, sound and timing intact.

The names below are loaded when they are first used, so that ``import iconface_video`` is fast and needs neither torch nor
diffusers.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iconface_video.identity.grouping import ReferenceChoice
    from iconface_video.models.checkpoints import load_model
    from iconface_video.pipelines.batch import BatchOptions, restore_batch
    from iconface_video.pipelines.compare import CompareRequest, compare_videos
    from iconface_video.pipelines.image import restore_faces
    from iconface_video.pipelines.people import FoundPeople, find_people
    from iconface_video.pipelines.render import render_store
    from iconface_video.pipelines.restore import restore_video
    from iconface_video.pipelines.survey import survey
    from iconface_video.session.clip_faces import ClipRequest
    from iconface_video.session.clip_session import ClipSession
    from iconface_video.settings import RunSettings
    from iconface_video.video.probe import probe

__version__ = "0.1.0"

# Nothing is sent anywhere: these libraries report their use to their makers unless they are told not to before they are loaded
# (onnxruntime to Microsoft, huggingface_hub and diffusers to Hugging Face, Ray to Anyscale). A value set by the user stays.
for _name, _value in {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}.items():
    os.environ.setdefault(_name, _value)

__all__ = [
    "BatchOptions",
    "ClipRequest",
    "ClipSession",
    "CompareRequest",
    "FoundPeople",
    "ReferenceChoice",
    "RunSettings",
    "__version__",
    "compare_videos",
    "find_people",
    "load_model",
    "probe",
    "render_store",
    "restore_batch",
    "restore_faces",
    "restore_video",
    "survey",
]

_HOMES = {
    "BatchOptions": "iconface_video.pipelines.batch",
    "ClipRequest": "iconface_video.session.clip_faces",
    "ClipSession": "iconface_video.session.clip_session",
    "CompareRequest": "iconface_video.pipelines.compare",
    "FoundPeople": "iconface_video.pipelines.people",
    "ReferenceChoice": "iconface_video.identity.grouping",
    "RunSettings": "iconface_video.settings",
    "compare_videos": "iconface_video.pipelines.compare",
    "find_people": "iconface_video.pipelines.people",
    "load_model": "iconface_video.models.checkpoints",
    "probe": "iconface_video.video.probe",
    "render_store": "iconface_video.pipelines.render",
    "restore_batch": "iconface_video.pipelines.batch",
    "restore_faces": "iconface_video.pipelines.image",
    "restore_video": "iconface_video.pipelines.restore",
    "survey": "iconface_video.pipelines.survey",
}


def __getattr__(name: str) -> Any:
    """Loads a public name from its home (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'iconface_video' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
