"""Small-gauge film by its physical figures: grain in density, weave in micrometres, dust and scratches of the size they have.

Where the figures come from:

* Frames as projected: regular 8 4.5 x 3.3 mm, Super 8 5.3 x 4.0 mm (SMPTE 154), 16 mm 9.65 x 7.26 mm (SMPTE 233), 35 mm
  academy 20.95 x 15.25 mm (SMPTE RP 40). The frame's height says how many um a px is, and with it the size of everything else.
* Grain: Kodak's diffuse rms granularity, 1000 times the deviation of density seen through a round hole of 48 um at density 1:
  some 9 for Kodachrome 25 and other fine reversal stock, 17 for Tri-X reversal, 5 for color negatives. By Selwyn's law the
  deviation goes with one over the root of the area: a px of p um sees 42.5 / p as much. With density it grows as its root
  (random dots; Nutting 1913).
* Sharpness: where the whole chain (camera lens, stock, scanner) halves the contrast: about 30 lines a mm for amateurs' 8 mm,
  40 for 16 mm.
* Unsteadiness: SMPTE RP 105 judges projection by jump (up and down, at the frame rate) and weave (sideways, slower), and calls
  0.2 to 0.4 % of the picture's width fair; amateurs' cameras and worn perforations are at the upper end and above.
* Frame rates: 16 a second (regular 8, silent), 18 (Super 8), 24 (sound).
* Fading: of a color film's dyes the cyan goes first in the dark, the yellow in light ("The Permanence and Care of Color
  Photographs", Wilhelm 1993): what is left is magenta, or red.
* How much dust and how many scratches there are differs from reel to reel; these are chosen by eye.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FilmMedium:
    """One kind of film, scanned or filmed off the screen."""

    frame_mm: float
    """Height of the projected frame."""
    frames_per_second: float
    """Of the film; a clip of more shows some of its frames twice, as transfers do."""
    rms_granularity: float = 10.0
    """1000 times the deviation of density at density 1 through 48 um."""
    grain_um: float = 4.0
    """Over which grain hangs together (a Gaussian's deviation): clumps, the scanner's own blur."""
    grain_color: float = 0.35
    """Share of the grain's power that differs between the three dyes; 0 for silver."""
    sharp_lines_mm: float = 35.0
    """Line pairs a mm at which contrast is halved."""
    weave_um: float = 6.0
    """rms sideways, slow."""
    jump_um: float = 6.0
    """rms up and down, anew in each frame."""
    flicker: float = 0.03
    """rms of the light, share."""
    scratches: float = 0.8
    """At any time, on average; most run along the film for seconds."""
    scratch_um: float = 12.0
    dust_per_frame: float = 4.0
    dust_um: float = 30.0
    """Mean size."""
    hair_share: float = 0.1
    """Of the dust."""
    light_share: float = 0.35
    """Share of dust and scratches that is white: on the negative, or through the emulsion; on a positive dirt is black."""
    dyes: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """What is left of the cyan, magenta and yellow dye (they hold back red, green and blue)."""
    stain: float = 0.0
    """Density of what grew yellow."""
    vignette: float = 0.1
    """How much darker the corners are than the middle: the projector's hot spot."""
    black_density: float = 2.6
    """The deepest black: amateurs' prints and duplicates reach no more."""
    is_monochrome: bool = False
    is_negative: bool = False
    """Grain sits in a negative's densities: in the lights, not in the shadows."""


REGULAR_8 = FilmMedium(
    frame_mm=3.3,
    frames_per_second=16,
    rms_granularity=12,
    sharp_lines_mm=28,
    weave_um=8,
    jump_um=9,
    flicker=0.05,
    scratches=1.2,
    dust_per_frame=6,
    dyes=(0.85, 0.95, 0.8),
    stain=0.04,
    vignette=0.2,
    black_density=2.0,
)
SUPER_8 = FilmMedium(
    frame_mm=4.0,
    frames_per_second=18,
    rms_granularity=11,
    sharp_lines_mm=30,
    weave_um=7,
    jump_um=8,
    flicker=0.04,
    dyes=(0.9, 0.97, 0.9),
    stain=0.02,
    vignette=0.15,
    black_density=2.2,
)
FADED_8 = FilmMedium(
    frame_mm=4.0,
    frames_per_second=18,
    rms_granularity=13,
    sharp_lines_mm=28,
    weave_um=8,
    jump_um=9,
    flicker=0.05,
    scratches=2.0,
    dust_per_frame=9,
    dyes=(0.5, 0.9, 0.7),
    stain=0.1,
    vignette=0.2,
    black_density=1.9,
)
FILM_16 = FilmMedium(
    frame_mm=7.26,
    frames_per_second=24,
    rms_granularity=12,
    sharp_lines_mm=40,
    weave_um=7,
    jump_um=7,
    flicker=0.025,
    dust_per_frame=3,
    light_share=0.5,
    vignette=0.08,
    is_negative=True,
)
FILM_16_MONOCHROME = FilmMedium(
    frame_mm=7.26,
    frames_per_second=24,
    rms_granularity=17,
    grain_um=5.5,
    grain_color=0.0,
    sharp_lines_mm=36,
    weave_um=9,
    jump_um=9,
    flicker=0.05,
    scratches=1.8,
    dust_per_frame=6,
    light_share=0.5,
    vignette=0.12,
    black_density=2.2,
    is_monochrome=True,
    is_negative=True,
)
"""Newsreels."""
