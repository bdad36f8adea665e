"""What a video's name may end in."""

VIDEO_SUFFIXES = frozenset(
    [
        ".mp4",
        ".m4v",
        ".mov",
        ".qt",
        ".mkv",
        ".webm",
        ".avi",
        ".mpg",
        ".mpeg",
        ".vob",
        ".ts",
        ".m2ts",
        ".mts",
        ".wmv",
        ".flv",
        ".3gp",
        ".dv",
        ".mxf",
        ".ogv",
        ".y4m",
    ]
)
"""What counts as a video in a folder; a file that is named outright is taken whatever its suffix."""
