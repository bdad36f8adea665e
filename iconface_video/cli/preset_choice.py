"""Which preset a run takes when none is named: the one for the kind of recording that the video looks like."""

from __future__ import annotations

import sys
from pathlib import Path

from iconface_video.configs import DEFAULTS, Preset, load_preset
from iconface_video.errors import IconFaceError


def preset_for(video: Path, named: str | None, is_silent: bool) -> Preset:
    """The preset that was named, or the one that suits what the video looks like, said in one line on stderr.

    A video that cannot be read gets the defaults: the run itself says better what is wrong with it. Raises UsageError and
    InputError as `load_preset` does for a named one.
    """
    if named is not None:
        return load_preset(named)
    from iconface_video.video.kind import kind_of
    from iconface_video.video.probe import probe

    try:
        verdict = kind_of(probe(video))
    except IconFaceError:
        return DEFAULTS
    if not is_silent:
        print(
            f"preset {verdict.preset}, as the recording looks like {verdict.sentence} (--preset chooses another)",
            file=sys.stderr,
        )
    return load_preset(verdict.preset)
