"""Reading, colour and writing of video: the only room that knows FFmpeg (through PyAV).

Touch freely: what more of a container can be carried (`carrying`, `remux`). What must hold: exact times, planes as they were decoded, sound packet
for packet, and a name only for what is whole (tests/video compares with the ffmpeg program).
"""
