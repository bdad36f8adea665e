"""Analogue video recordings by their physical figures: what a recorder does to a line, in MHz, ns and dB.

Where the figures come from:

* The line. 52 us of a 64 us line (625 lines) are picture (ITU-R BT.470; BT.601 samples 702 of them at 13.5 MHz): a bandwidth
  of f MHz leaves 104 f px across. TV lines per MHz: about 80, so that 3 MHz are the 240 lines of VHS data sheets.
* VHS (IEC 60774-1): light is frequency modulated, 3.8 MHz at sync, 4.8 MHz at white, which leaves about 3 MHz; color is
  carried below it, at 627 kHz (PAL) or 629 kHz (NTSC), which leaves about 400 kHz ("VHS", Wikipedia; half that on each
  sideband is what its 40 px across are). At the slower speeds LP and EP light has 1.9 and 1.4 MHz, color 375 and 350 kHz
  in joncampbell123's composite-video-simulator, whose figures the well-known imitations share.
* Video8 (IEC 60843): light 4.2 to 5.4 MHz (240 to 260 lines), color at 732 kHz (PAL), metal tape: fewer dropouts. Hi8: 5.7 to
  7.7 MHz, 400 lines; color as before.
* S/N of 43 dB (weighted) at SP and 40 dB at EP stands in data sheets; unweighted it is some 3 to 5 dB less.
* The heads change over 6.5 +- 1.5 lines before the vertical sync (IEC 60774-1), i.e. about 4 lines above the picture's lower
  edge in each field.
* Time-base error: microseconds over a field, tens of ns from line to line; largest in the first 10 to 20 % of a field, where
  the head meets the tape (makers of time-base correctors). A dropout counts from about 5 us at -20 dB; recorders put the line
  before in its place.
* No standard tells how late color comes (200 to 400 ns are common in captures), how much the gain pumps, and how often a
  worn tape drops out: these are chosen by eye.
"""

from __future__ import annotations

from dataclasses import dataclass

PAL_SUBCARRIER_MHZ = 4.43361875


@dataclass(frozen=True)
class TapeMedium:
    """One kind of analogue recording. Everything is said of one generation; `generations` compounds it."""

    luma_mhz: float
    """Where detail across comes out half as strong."""
    chroma_mhz: float
    """The same of color."""
    chroma_delay_ns: float = 250.0
    """How much later than light color comes: it lies to the right."""
    chroma_delay_lines: float = 0.5
    """Lines of a field by which color lies too low: comb filters average a line with the one before."""
    luma_snr_db: float = 40.0
    """Peak to peak signal over rms noise, unweighted, within `luma_mhz`."""
    chroma_snr_db: float = 35.0
    """The same of each color difference, within `chroma_mhz`."""
    line_noise: float = 0.8
    """rms, grey levels (0-255), by which whole lines are too bright or too dark: the clamp of black."""
    peaking: float = 0.25
    """Overshoot of edges, as a share of their step: what recorders add to look sharp."""
    jitter_ns: float = 15.0
    """rms from line to line."""
    bend_ns: float = 80.0
    """rms of slow bends down a field, which change within a second."""
    flag_ns: float = 150.0
    """rms of the skew in a field's first lines, where the head meets the tape; it dies away within a tenth of the field."""
    head_switch_lines: float = 4.0
    """Lowest lines of each field that the other head plays; 0: none in the picture."""
    head_switch_ns: float = 1500.0
    """How far the first of them are off."""
    dropouts_per_second: float = 10.0
    dropout_us: float = 12.0
    """Mean length."""
    compensated: float = 0.8
    """Share of dropouts in whose place the line before is played; the others are white or black streaks."""
    cross_color: float = 0.3
    """Share of the light's detail around the color carrier that comes out as color: composite recordings."""
    subcarrier_mhz: float = PAL_SUBCARRIER_MHZ
    agc: float = 0.08
    """How far the gain follows the picture's mean light (share of the light between a black and a white picture), late."""
    saturation: float = 0.95
    black_lift: float = 4.0
    """Grey levels by which black is too bright."""
    generations: int = 1
    """1: the camera's own tape; 2: a copy of it; ..."""


VHS_SP = TapeMedium(luma_mhz=3.0, chroma_mhz=0.4)
VHS_LP = TapeMedium(
    luma_mhz=1.9,
    chroma_mhz=0.375,
    chroma_delay_ns=300,
    luma_snr_db=38,
    chroma_snr_db=33,
    jitter_ns=22,
    dropouts_per_second=18,
)
VHS_EP = TapeMedium(
    luma_mhz=1.4,
    chroma_mhz=0.35,
    chroma_delay_ns=350,
    luma_snr_db=37,
    chroma_snr_db=31,
    line_noise=1.2,
    peaking=0.35,
    jitter_ns=30,
    bend_ns=120,
    dropouts_per_second=30,
)
VHS_COPY = TapeMedium(luma_mhz=3.0, chroma_mhz=0.4, agc=0.12, dropouts_per_second=20, saturation=0.92, generations=3)
"""A copy of a copy: what families lent each other."""
VIDEO8 = TapeMedium(
    luma_mhz=3.0,
    chroma_mhz=0.5,
    chroma_delay_ns=180,
    luma_snr_db=41,
    chroma_snr_db=36,
    jitter_ns=12,
    bend_ns=50,
    flag_ns=90,
    head_switch_lines=3,
    dropouts_per_second=6,
    cross_color=0.1,
)
HI8 = TapeMedium(
    luma_mhz=5.0,
    chroma_mhz=0.5,
    chroma_delay_ns=150,
    luma_snr_db=41,
    chroma_snr_db=37,
    jitter_ns=10,
    bend_ns=40,
    flag_ns=80,
    head_switch_lines=3,
    # Metal-evaporated tape: sharper, and with more dropouts than metal particles.
    dropouts_per_second=14,
    cross_color=0.0,
)
STUDIO_PAL = TapeMedium(
    luma_mhz=5.0,
    chroma_mhz=1.3,
    chroma_delay_ns=0,
    chroma_delay_lines=0.5,
    luma_snr_db=48,
    chroma_snr_db=46,
    line_noise=0.1,
    peaking=0.3,
    jitter_ns=0,
    bend_ns=0,
    flag_ns=0,
    head_switch_lines=0,
    dropouts_per_second=0,
    cross_color=0.6,
    agc=0,
    saturation=1.0,
    black_lift=0,
)
"""No tape: a composite signal off the air (ITU-R BT.470: 5 MHz of light, 1.3 MHz of color), edges enhanced as studios did."""
