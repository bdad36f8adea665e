"""Reading, colour and writing of video: the only room that knows FFmpeg (through PyAV)."""
