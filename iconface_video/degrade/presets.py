"""Named rows of effects, and effects by name."""

from __future__ import annotations

from collections.abc import Callable

from iconface_video.degrade import clip_effects, codec, film
from iconface_video.degrade.clip_effects import ClipEffect
from iconface_video.degrade.media import MEDIA
from iconface_video.errors import UsageError
from iconface_video.settings import nearest

EFFECTS: dict[str, Callable[[], ClipEffect]] = {
    "bandwidth": clip_effects.Bandwidth,
    "chroma": clip_effects.ChromaShift,
    "fading": clip_effects.Fading,
    "grey": clip_effects.BlackAndWhite,
    "banding": clip_effects.Banding,
    "interlace": clip_effects.Interlace,
    "jitter": clip_effects.LineJitter,
    "dropouts": clip_effects.Dropouts,
    "noise": clip_effects.TapeNoise,
    "grain": film.FilmGrain,
    "weave": film.GateWeave,
    "scratches": film.Scratches,
    "dust": film.Dust,
    "h264": lambda: codec.Codec("h264"),
    "mpeg2": lambda: codec.Codec("mpeg2", bits_per_pixel=0.15),
    "dv": lambda: codec.Codec("dv"),
}
"""Name -> an effect with its default settings."""

PRESETS: dict[str, tuple[ClipEffect, ...]] = {
    "light": (clip_effects.Bandwidth(500, 480, 250), clip_effects.TapeNoise(1.5, 2.0), codec.Codec("h264", 0.2)),
    "medium": (clip_effects.Bandwidth(300, 320, 120), clip_effects.TapeNoise(3.0, 4.0), codec.Codec("mpeg2", 0.15)),
    "heavy": (
        clip_effects.Bandwidth(130, 150, 60),
        clip_effects.Fading(0.9, 10, 0.05, 0.0),
        clip_effects.TapeNoise(6.0, 8.0),
        clip_effects.Banding(40),
        codec.Codec("h264", 0.02),
    ),
    "vhs": (
        clip_effects.Bandwidth(240, 500, 40),
        clip_effects.Interlace(),
        clip_effects.ChromaShift(10, 5, 1.5),
        clip_effects.TapeNoise(5.0, 9.0),
        clip_effects.LineJitter(),
        clip_effects.Dropouts(),
        clip_effects.Fading(0.92, 10, 0.04, 0.0),
        codec.Codec("dv"),
    ),
    "film": (
        clip_effects.Bandwidth(380, 400, 300),
        film.GateWeave(),
        clip_effects.Fading(0.85, 18, 0.08, 0.04),
        film.FilmGrain(),
        film.Scratches(),
        film.Dust(),
        codec.Codec("mpeg2", 0.25),
    ),
    **MEDIA,
}
"""Name -> effects in the order in which the damage happened."""


def effects_named(preset: str | None, names: list[str]) -> tuple[ClipEffect, ...]:
    """The preset's effects, then those of `names`; raises `UsageError` for an unknown word or when there is nothing to do."""
    if preset is not None and preset not in PRESETS:
        raise UsageError(f"preset is '{preset}', must be one of {', '.join(PRESETS)}.{nearest(preset, PRESETS)}")
    for name in names:
        if name not in EFFECTS:
            raise UsageError(f"effect '{name}' is not known; there are {', '.join(EFFECTS)}.{nearest(name, EFFECTS)}")
    chosen = (*(PRESETS[preset] if preset else ()), *(EFFECTS[name]() for name in names))
    if not chosen:
        raise UsageError("nothing to do: name a preset or at least one effect")
    return chosen
