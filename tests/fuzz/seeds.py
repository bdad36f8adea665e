"""The healthy files that are damaged: small clips of one drifting face, in the containers and codecs that people have."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

FRAMES = 12
RATE = 12
_SECONDS = str(FRAMES / RATE)


@dataclass(frozen=True)
class Seed:
    """One healthy file."""

    path: Path
    twin: Path
    """The same container with a film of another size or pixel format, to go on with."""


def make_seeds(folder: Path, portrait: Path) -> list[Seed]:
    """MP4 (H.264 with B-frames, AAC), MKV (variable rate, FLAC, subtitles, chapters), MOV (ProRes, PCM, rotated), TS (MPEG-2),
    AVI (Motion JPEG, PCM) and a fragmented MP4 (H.265 in 10 bits, AAC), each with its twin.

    portrait: picture of one face, 512x512.
    """
    make = _Maker(folder, portrait)
    x264 = ("-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "6", "-threads", "1", "-flags", "+bitexact")
    mpeg2 = ("-c:v", "mpeg2video", "-bf", "2", "-g", "6", "-q:v", "3")
    x265 = ("-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le", "-x265-params", "log-level=none:pools=none")
    fragments = ("-movflags", "frag_keyframe+empty_moov+default_base_moof")
    yuv420, yuv444 = ("-pix_fmt", "yuv420p"), ("-pix_fmt", "yuv444p")
    mkv = (
        "-map_chapters",
        "3",
        "-map",
        "0",
        "-map",
        "1",
        "-map",
        "2",
        "-c:s",
        "srt",
        "-c:a",
        "flac",
        "-fps_mode",
        "passthrough",
    )
    return [
        Seed(
            make("h264.mp4", *x264, *yuv420, "-c:a", "aac", "-shortest"),
            make("h264-twin.mp4", *x264, *yuv444, "-c:a", "aac", size="96x96"),
        ),
        Seed(
            make("vfr.mkv", *x264, *yuv420, *mkv, texts=True, more="select='mod(n+1,4)'"),
            make("vfr-twin.mkv", *x264, *yuv420, "-c:a", "flac", size="96x64"),
        ),
        Seed(
            make.turned(
                "prores.mov",
                "-c:v",
                "prores_ks",
                "-profile:v",
                "2",
                "-pix_fmt",
                "yuv422p10le",
                "-c:a",
                "pcm_s16le",
                "-timecode",
                "01:00:00:00",
            ),
            make("prores-twin.mov", "-c:v", "prores_ks", "-profile:v", "4444", "-pix_fmt", "yuv444p10le", size="96x64"),
        ),
        Seed(
            make("mpeg2.ts", *mpeg2, "-c:a", "mp2", rate=25),
            make("mpeg2-twin.ts", *mpeg2, "-c:a", "mp2", "-output_ts_offset", "1", size="96x64", rate=25),
        ),
        Seed(
            make("mjpeg.avi", "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-c:a", "pcm_s16le"),
            make("mjpeg-twin.avi", "-c:v", "mjpeg", "-pix_fmt", "yuvj444p", "-c:a", "pcm_s16le", size="96x64"),
        ),
        Seed(
            make("fragments.mp4", *x265, *fragments, "-c:a", "aac"),
            make("fragments-twin.mp4", *x265, *fragments, "-c:a", "aac", size="96x64"),
        ),
    ]


class _Maker:
    def __init__(self, folder: Path, portrait: Path) -> None:
        self._folder, self._portrait = folder, portrait
        self._texts = folder / "texts.srt"
        self._texts.write_text("1\n00:00:00,100 --> 00:00:00,400\nHello\n\n2\n00:00:00,500 --> 00:00:00,900\nagain\n")
        self._chapters = folder / "chapters.txt"
        chapter = "[CHAPTER]\nTIMEBASE=1/1000\nSTART={}\nEND={}\ntitle=part {}\n"
        self._chapters.write_text(";FFMETADATA1\ntitle=a film\n" + chapter.format(0, 500, 1) + chapter.format(500, 1000, 2))

    def __call__(
        self, name: str, *arguments: str, size: str = "128x96", rate: int = RATE, texts: bool = False, more: str = ""
    ) -> Path:
        width, height = size.split("x")
        drift = f"scale=192:192,crop={width}:{height}:'20+2*n':8" + (f",{more}" if more else "")
        inputs = ["-loop", "1", "-framerate", str(rate), "-t", _SECONDS, "-i", self._portrait]
        inputs += ["-f", "lavfi", "-t", _SECONDS, "-i", "sine=440:sample_rate=48000"]
        inputs += ["-i", self._texts, "-i", self._chapters] if texts else []
        return self._run(name, *inputs, "-vf", drift, "-fflags", "+bitexact", *arguments)

    def turned(self, name: str, *arguments: str) -> Path:
        """With a display matrix: shown upright after a quarter turn."""
        upright = self(f"upright-{name}", *arguments)
        return self._run(name, "-i", upright, "-map", "0:v", "-map", "0:a", "-c", "copy", "-metadata:s:v", "rotate=90")

    def _run(self, name: str, *arguments: str | Path) -> Path:
        path = self._folder / name
        command = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-y", *map(str, arguments), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stderr[-500:]}")
        return path
