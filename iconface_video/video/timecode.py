"""SMPTE time code (ST 12-1): what stands on a later frame, with and without dropped numbers."""

from __future__ import annotations

import re
from fractions import Fraction

_FORM = re.compile(r"(\d{2}):(\d{2}):(\d{2})([:;.])(\d{2,3})")
_DROPPED = {30: 2, 60: 4, 120: 8}
"""Numbers left out at the beginning of every minute but each tenth, by frames counted in a second."""
_HOURS = 24


def later_time_code(code: str, seconds: Fraction, rate: Fraction | None) -> str | None:
    """The time code of the frame `seconds` after the one that bears `code`; None where that cannot be told.

    rate: frames per second. Drop-frame codes ("01:00:00;00", at 30000/1001 and its multiples) skip numbers as the standard
    says; the form stays as it was.
    """
    found = _FORM.fullmatch(code.strip())
    if found is None or not rate or rate <= 0:
        return None
    hours, minutes, whole, frames = (int(found[group]) for group in (1, 2, 3, 5))
    separator, width = found[4], len(found[5])
    base = -(-rate.numerator // rate.denominator)  # 29.97 counts to 30
    is_drop = separator != ":"
    dropped = _DROPPED.get(base, 0) if is_drop else 0
    if minutes > 59 or whole > 59 or frames >= base or (is_drop and not dropped):
        return None
    total_minutes = hours * 60 + minutes
    number = (total_minutes * 60 + whole) * base + frames - dropped * (total_minutes - total_minutes // 10)
    number += round(seconds * rate)
    per_ten = 600 * base - 9 * dropped
    number %= per_ten * 6 * _HOURS
    tens, rest = divmod(number, per_ten)
    per_minute = 60 * base - dropped
    skipped = dropped * max(0, (rest - dropped) // per_minute) if dropped else 0
    label = number + 9 * dropped * tens + skipped
    seconds_label, frames = divmod(label, base)
    minutes_label, whole = divmod(seconds_label, 60)
    hours, minutes = divmod(minutes_label, 60)
    return f"{hours:02}:{minutes:02}:{whole:02}{separator}{frames:0{width}}"
