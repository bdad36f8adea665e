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
        asks_help = bool(args) and args[0] in ("-h", "--help")
        if args and args[0].startswith("-") and not asks_help:
            is_video = any(word == "--video" or word.startswith("--video=") for word in args)
            args = ["video" if is_video else "faces", *args]
        return super().parse_args(ctx, args)


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
