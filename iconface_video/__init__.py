"""iconface-video: restore every face in a video, true to the person, steady through time, sound and timing intact."""

__version__ = "0.1.0"
