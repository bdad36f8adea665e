"""How a person is learnt. Part of what learnt weights are known by: other settings, other weights."""

from __future__ import annotations

from dataclasses import dataclass

from iconface_video.settings import Validated, setting

COARSE_DECODER = r"autoencoder\.(?!refiner\.)(?!(coarse\.)?(encoder|to_tokens)\.).*\.weight"
"""Of the embedded size: the decoder and the attention of the one pass there is, or of a cascade's coarse pass.

The encoder's weights added nothing to likeness (one person, 320 faces, both strengths within .01) and a step took half as
long again: gradients had to go back through the transformer.
"""


@dataclass(frozen=True)
class PersonalizeSettings(Validated):
    steps: int = setting(110, low=1, high=10000, help="Steps of learning.")
    faces: int = setting(8, low=1, high=256, help="Faces a step.")
    size: int = setting(128, low=16, high=256, help="px at which a person is learnt: the coarse pass's.")
    rank: int = setting(32, low=1, high=256, help="Of the low-rank differences.")
    weights: str = setting(COARSE_DECODER, help="Regular expression of the weights' names that get one.")
    learning_rate: float = setting(4e-3, low=0, high=1, help="Muon's.")
    final_rate: float = setting(0.05, low=0, high=1, help="Share of it that is left at the end (cosine).")
    warmup_steps: int = setting(8, low=0, high=1000, help="Steps in which it rises.")
    lowest_strength: float = setting(9.0, low=0, high=20, help="Damage of the faces to restore: from this strength ...")
    highest_strength: float = setting(20.0, low=0, high=20, help="... to this one.")
    light_share: float = setting(0.1, low=0, high=1, help="Share of faces that are damaged less than that.")
    empty_share: float = setting(0.1, low=0, high=1, help="Share of faces of which nothing is left but their mean color.")
    reference_share: float = setting(0.7, low=0, high=1, help="Share of steps in which photos are shown.")
    transformer: bool = setting(False, help="Let a pixel model's transformer take part in the steps.")
    """It takes a fifth of a step, and what it does to the embedded size's pictures is .15 of a grey level at strengths 10 to 20."""
    identity: float = setting(0.7, low=0, high=10, help="Weight of the identity loss.")
    features: float = setting(0.15, low=0, high=10, help="Weight of the distance of the identity encoder's first maps.")
    seed: int = setting(0, low=0, high=2**63 - 1, help="Same seed, photos and settings: same weights.")
