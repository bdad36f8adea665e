"""What a run did, for the summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RunReport:
    """Result of one run; numbers a person wants at the end."""

    input: Path
    output: Path
    frames: int
    """Frames written."""
    faces: int
    """Faces found: one per face and frame, interpolated ones included."""
    tracks: int
    people: int
    frames_restored: int
    """Frames in which at least one face was restored."""
    faces_restored: int
    """Faces pasted, one per face and frame."""
    faces_repeated: int
    """Of these, faces in repeated frames, which share the result of the frame before."""
    left_alone: dict[str, int] = field(default_factory=dict)
    """Tracked faces that the model did not touch, by reason; one per face and frame."""
    not_tracked: dict[str, int] = field(default_factory=dict)
    """Faces seen but not followed (too small, seen for a moment), by reason; each counts once however long it was seen."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Time per stage."""
    work: Path | None = None
    """The kept work folder; None when it was deleted."""
    notes: tuple[str, ...] = ()
    """What a person should know: container changed, damaged frames, photos with several faces ..."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = asdict(self)
        values.update(input=str(self.input), output=str(self.output), work=None if self.work is None else str(self.work))
        return {**values, "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunReport:
        """From what `to_dict` gave."""
        work = values["work"]
        paths = {"input": Path(values["input"]), "output": Path(values["output"]), "work": None if work is None else Path(work)}
        return cls(**{**values, **paths, "notes": tuple(values["notes"])})
