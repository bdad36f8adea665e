"""The models that this release knows by name."""

from __future__ import annotations

from dataclasses import dataclass

from iconface_video.models.published import PUBLISHED


@dataclass(frozen=True)
class KnownModel:
    """One that `models list` shows."""

    source: str
    """What `--model` or `models pull` takes."""
    kind: str
    license: str
    download_bytes: int
    """About; 0: part of the package."""
    description: str


KNOWN = (
    KnownModel(
        "embedded",
        "restorer",
        "research use; see the model card",
        0,
        "Small model that ships with this package; a CPU is enough.",
    ),
    KnownModel(
        "black-forest-labs/FLUX.2-klein-base-4B",
        "base",
        "Apache-2.0",
        7_920_000_000,
        "Backbone and autoencoder of the full size; restores nothing by itself, adapters are trained on it.",
    ),
    *(
        KnownModel(
            model.name,
            "restorer",
            model.traits.license,
            model.download_bytes,
            f"{model.lora.repository} on {model.base.repository}: {model.can}; {model.cannot}.",
        )
        for model in PUBLISHED.values()
    ),
)
