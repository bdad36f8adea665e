"""Weights of the restorer's losses."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from iconface_video.errors import UsageError
from iconface_video.settings import Count, CountOrZero, Validated


@dataclass(frozen=True)
class LossSettings(Validated):
    """Weights of the losses; 0 leaves one out."""

    stage: Literal["flow", "few_step"] = "flow"
    steps: int = 1
    """Sampler steps of the few-step stage."""
    pixel: float = 1.0
    pixel_scales: tuple[float, ...] = (1.0,)
    """Weights of the pixel loss at full, half, quarter ... resolution."""
    features: float = 0.0
    """How much more the pixel loss counts within eyes, brows and mouth, as our landmark network finds them in the truth; 1: twice."""
    flow: float = 0.75
    """L_fm of IConFace (flow stage only)."""
    identity: float = 0.30
    identity_kind: Literal["iconface", "hard_example"] = "iconface"
    hard_weight: float = 0.25
    """lambda_h of IConFace eq. 11."""
    truth_identity: float = 0.0
    """Weight of 1 - cos to the truth, with and without references (the paper has none without)."""
    perceptual: float = 0.0
    perceptual_share: float = 0.5
    """Share of a batch that the perceptual loss looks at."""
    adversarial: float = 0.0
    texture_error: float = 0.0
    """Input error (`charbonnier` in [-1, 1]; 0.05 at about 29 dB) above which a picture's adversarial weight falls in
    proportion: where little is known, a judge of texture teaches to tear features. 0: nowhere."""
    full_noise_share: float = 0.5
    """Flow stage: probability of sigma 1, where few-step sampling starts."""
    smallest_sigma: float = 0.2
    """Below it the velocity's weight 1 / sigma^2 on the clean picture grows no further."""
    spread: float = 0.0
    """How much restorations of one face under different noise should differ, as a share of what a proper score asks for: 0 rewards
    the middle of all that is possible, 1 a sample of it (few-step stage only; the frames of a pair then share their noise)."""
    spread_every: Count = 1
    """Of how many steps one has the spread, the perceptual, the identity or the adversarial loss: it counts that much more there,
    and costs less."""
    perceptual_every: Count = 1
    identity_every: Count = 1
    adversarial_every: Count = 1
    transformer_every: Count = 1
    """Of how many steps one runs (and trains) the transformer; in the others the convolutions learn without what it adds."""
    reference_gradient_every: Count = 1
    """Of how many steps one lets gradients from references into the encoder that looks at them; without any it never learns what to
    show of them."""
    reference_gradients: CountOrZero = 0
    """Of a face's references, through how many gradients reach that encoder in each step, by turns; 0: through all. The others are
    looked at all the same, for a third of the time."""
    damage: float = 0.0
    """Weight of what a cascade's passes get wrong about how much is wrong at each place."""
    harm: float = 0.0
    """Weight of what a restoration makes worse than its input was, place by place, as a share of the input's error there."""
    steady: float = 0.0
    """Weight of what a face and the same face moved differ by once restored (pairs only, see `MixSettings.pair_share`)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, (int, float)) and not value >= 0:
                raise UsageError(f"the losses' {item.name} is {value}, must be at least 0")
        if not 0 <= self.spread <= 1:  # above 1 differing without end would pay
            raise UsageError(f"the losses' spread must be within [0, 1], got {self.spread}")
        if self.spread and self.stage != "few_step":
            raise UsageError("the losses' spread compares what comes of pure noise: it needs stage few_step")
        if self.transformer_every > 1 and (self.stage != "few_step" or self.steps > 1):
            raise UsageError(
                "the losses' transformer_every leaves steps without the transformer: it needs stage few_step, steps 1"
            )
        if not self.pixel_scales or min(self.pixel_scales) < 0:
            raise UsageError(f"the losses' pixel_scales are one weight or more, none below 0, got {list(self.pixel_scales)}")
