"""`iconface-video evaluate`: a group whose commands stand in evaluate_*_command.py and are registered in main.py.

Without a command's name it means `faces`, or `video` where --video is among the options: `evaluate --data F -o OUT` is
`evaluate faces --data F -o OUT`, and `evaluate --video CLIP ...` is `evaluate video --video CLIP ...`.
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup


class DefaultingGroup(TyperGroup):
    """A group that fills in the command's name when the first word is an option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self.filled_in(args))

    @staticmethod
    def filled_in(words: list[str]) -> list[str]:
        """The words with the command's name before them, where it was left out."""
        if not words or not words[0].startswith("-") or words[0] in ("-h", "--help"):
            return words
        is_video = any(word == "--video" or word.startswith("--video=") for word in words)
        return ["video" if is_video else "faces", *words]


app = typer.Typer(
    cls=DefaultingGroup,
    help="Measure the restorer, the identity encoder, the detector, or a restored video. Without a command: faces, or video with --video.",
    no_args_is_help=True,
)


@app.callback()
def _group() -> None:
    """Measure the restorer, the identity encoder, the detector, or a restored video.

    Without a command's name: faces, or video where --video is given.
    """
