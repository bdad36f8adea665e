"""Published weights that are brought into our form on this machine: where they lie, what they are for, how they are to be run.

The values are the authors' own: repository cosmicrealm/ComfyUI-Flux-FaceIR (Apache-2.0), the forerunner of IConFace.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from iconface_video.models.download import HubPart
from iconface_video.models.traits import RestorerTraits

FACEIR_PROMPT = "restore a high quality portrait photo of a person, natural skin, detailed face"
NO_PROMPT = ""
"""Of the unconditional pass."""
FLUX2_SCHEDULE = {
    "_class_name": "FlowMatchEulerDiscreteScheduler",
    "num_train_timesteps": 1000,
    "use_dynamic_shifting": True,
    "time_shift_type": "exponential",
}
"""Euler steps on a falling line from 1 to 0, bent by FLUX.2's empirical mu of tokens and steps (`models.sampler`)."""
FACEIR_TRAITS = RestorerTraits(
    name="flux-faceir",
    prediction="velocity",
    max_references=3,
    crop_sizes=(512,),
    size_multiple=16,
    default_steps=12,
    default_guidance=4.0,
    crop_scale=1.35,
    border=(132, 133, 135),
    license="Apache-2.0 (base and code); the LoRA's as its card states",
)
"""12 steps are IConFace's; the forerunner's own program takes 50 (`--steps 50`)."""
_BASE_FILES = (
    *(
        f"{part}/*.{ending}"
        for part in ("transformer", "vae", "text_encoder", "tokenizer")
        for ending in ("json", "safetensors")
    ),
    "scheduler/*.json",
    "tokenizer/*.txt",
    "tokenizer/*.jinja",
)


@dataclass(frozen=True)
class PublishedModel:
    """One that `--model` knows by name once `models pull` has brought it."""

    name: str
    base: HubPart
    """As diffusers writes it, with its text encoder, which is run once."""
    lora: HubPart
    lora_file: str
    prompt: str
    negative_prompt: str
    traits: RestorerTraits
    download_bytes: int
    """About."""
    can: str
    cannot: str


FLUX_FACEIR = PublishedModel(
    name="flux-faceir",
    base=HubPart("black-forest-labs/FLUX.2-klein-base-4B", _BASE_FILES),
    lora=HubPart(
        "zhangjinyang/flux-restoration",
        ("pretrained_models/lora_weights.safetensors", "pretrained_models/adapter_config*.json"),
    ),
    lora_file="pretrained_models/lora_weights.safetensors",
    prompt=FACEIR_PROMPT,
    negative_prompt=NO_PROMPT,
    traits=FACEIR_TRAITS,
    download_bytes=16_100_000_000,
    can="restores faces at 512 px, alone or with up to three pictures of the person; wants a GPU",
    cannot="has no identity pathway, no degraded residual and no degraded memory (IConFace eq. 3-7); nobody has measured it on video",
)
PUBLISHED = {FLUX_FACEIR.name: FLUX_FACEIR}


def models_home() -> Path:
    """Where models lie that were brought into our form: ICONFACE_HOME, else iconface-video in the user's cache folder."""
    home = os.environ.get("ICONFACE_HOME")
    if home:
        return Path(home).expanduser() / "models"
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache).expanduser() if cache else Path.home() / ".cache") / "iconface-video" / "models"


def prepared_folder(name: str) -> Path:
    """Where `models pull` puts a published model."""
    return models_home() / name
