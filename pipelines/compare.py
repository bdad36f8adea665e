"""Two videos to look at together: one film that shows both, and a page with sliders."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from iconface_video.errors import OutputError, UsageError
from iconface_video.faces.detector import make_detector
from iconface_video.files import write_whole
from iconface_video.lock import working_in, writing
from iconface_video.pages.html import Slide, check_page, clock, compare_page, data_url
from iconface_video.pages.tables import check_folder
from iconface_video.render.fit import Canvas, Fitter, cropped, make_canvas, painted
from iconface_video.render.side_by_side import CompareSettings, Composer, MomentPicker, Pair, Pairing
from iconface_video.session.clip import Clip, DisplayPictures, OnProgress, ShouldStop, Watch
from iconface_video.session.fingerprint import read_restoration_marks
from iconface_video.settings import EncodeSettings, ReadSettings, SurveySettings
from iconface_video.types import Frame, Progress, Timestamp, UInt8, VideoInfo
from iconface_video.video.color import Box, to_rgb_float
from iconface_video.video.decode import prefetch
from iconface_video.video.display_light import shown_rgb
from iconface_video.video.output_plan import OutputPlan, plan_output
from iconface_video.video.pictures import jpeg
from iconface_video.video.reader import VideoReader
from iconface_video.video.writer import VideoWriter

PAGE = "index.html"
_FILMS = ("a.mp4", "b.mp4")
"""In the page's folder."""
_PAGE_ENCODE = EncodeSettings(codec="h264", crf=18, preset="veryfast")
_BROWSER_AUDIO = ("aac", "mp3")
_LONGEST_SIDE = 1920
"""px of a still in a page."""
_LOOKS = 8
"""Pictures in which a face is looked for when the view is cropped to it."""
_FACE_MARGIN = 0.6
"""Of the face's size, added on each side."""


@dataclass(frozen=True)
class CompareReport:
    """What was written."""

    output: Path | None
    page: Path | None
    frames: int
    seconds: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class CompareRequest:
    """What to show of which videos."""

    a: Path
    b: Path
    labels: tuple[str, str] | None = None
    """None: the files' names."""
    offset: Fraction | None = None
    """Seconds of A at which B begins, for a B that shows only a part of A. None: both begin together."""
    start: Fraction | None = None
    """Seconds of A."""
    end: Fraction | None = None
    at: tuple[Fraction, ...] = ()
    """Seconds of A for the page's stills; where A and B differ most, when empty."""
    crop_to_face: bool = False
    """Show only where the largest face of A is."""
    show_labels: bool = True
    """On the film's pictures; a page always has them."""


def compare_videos(
    request: CompareRequest,
    output: Path | None = None,
    page: Path | None = None,
    *,
    settings: CompareSettings | None = None,
    encode: EncodeSettings | None = None,
    force: bool = False,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> CompareReport:
    """Show two videos together. A's sound and times are kept; B is shown at A's times, the smaller picture at the size of the larger.

    output: the film; page: a folder (stills and both films) or a file that ends in .html (stills inside). Either may be None,
    not both. Raises InputError, OutputError, UsageError, Cancelled; nothing half-written stays under either name.
    """
    if output is None and page is None:
        raise UsageError("nothing to write: name an output, or a page with `html`")
    settings, encode = settings or CompareSettings(), encode or EncodeSettings()
    watch = Watch(on_progress, should_stop)
    with VideoReader(request.a, ReadSettings()) as a, VideoReader(request.b, ReadSettings()) as b:
        view = _View(request, a, b)
        notes = list(view.notes)
        video_stream = None if output is None else _film_plan(view, output, settings, encode, force)
        if video_stream is not None:
            _refuse_input(video_stream.path, request.b, "second")
            notes += video_stream.notes
        pages = None if page is None else _Page(page, view, settings, force, request.at)
        for note in notes:
            watch.report(Progress("render", 0, None, message=note))
        with watch.stage("render"), ExitStack() as stack:
            if video_stream is not None:
                stack.enter_context(writing(video_stream.path))
            if pages is not None:
                stack.enter_context(pages.alone())
            frames, late = _show(view, video_stream, pages, settings, encode, watch)
    notes += late
    written = None if pages is None else pages.path
    return CompareReport(
        None if video_stream is None else video_stream.path, written, frames, watch.seconds["render"], tuple(notes)
    )


class _View:
    """Both videos on one canvas: which frames, which part of the picture, which names."""

    def __init__(self, request: CompareRequest, a: VideoReader, b: VideoReader) -> None:
        offset = request.offset or Fraction(0)
        if offset < 0:
            raise UsageError(f"`offset` is {float(offset):g} s, must be 0 or more; exchange the two videos instead")
        start, end = max(request.start or Fraction(0), offset), request.end
        if request.offset is not None and b.info.duration_seconds:
            end = min(end or Fraction(10**9), offset + Fraction(b.info.duration_seconds))
        self.a, self.b = a.info, b.info
        self.clip = Clip(a, start or None, end)
        self.b_reader, self._offset, self._start = b, offset, start
        self.canvas = make_canvas(a.info, b.info)
        self.fitters = Fitter(a.info, self.canvas), Fitter(b.info, self.canvas)
        self.labels = request.labels or _names(request.a, request.b)
        self.shows_labels = request.show_labels
        self.notes = tuple(self._notes(request))
        self.box: Box = (0, 0, self.canvas.width, self.canvas.height)
        if request.crop_to_face:
            found = _face_box(self.clip, self.canvas)
            self.notes += () if found else ("no face was found to crop to: the whole picture is shown",)
            self.box = found or self.box
        self.canvas = replace(self.canvas, width=self.box[2] - self.box[0], height=self.box[3] - self.box[1])

    def _notes(self, request: CompareRequest) -> list[str]:
        notes = []
        a, b = self.a, self.b
        if self.fitters[1].changes_shape:
            notes.append(f"B's picture ({_size(b)}) has another shape than A's ({_size(a)}): it is shown with bars.")
        elif self.fitters[1].scales:
            notes.append(f"B's picture ({_size(b)}) is enlarged to A's size ({_size(a)}).")
        if self.fitters[0].scales and (self.canvas.width, self.canvas.height) != (a.width, a.height):
            notes.append(f"A's picture ({_size(a)}) is enlarged to B's size ({_size(b)}).")
        if {a.color.transfer, b.color.transfer} & {16, 18} and a.color.transfer != b.color.transfer:
            notes.append("One of the videos is HDR and the other is not: their colors cannot be compared like this.")
        shorter = (a.duration_seconds or 0) - (b.duration_seconds or 0)
        if request.offset is None and b.duration_seconds and shorter > max(1.0, 0.05 * (a.duration_seconds or 0)):
            notes.append(
                f"B is {shorter:.1f} s shorter than A. If it shows only a part of A, say where it begins with `offset`."
            )
        return notes

    def shown_seconds(self) -> float | None:
        length = self.a.duration_seconds
        if self.clip.end is not None:
            length = float((self.clip.end.pts - self.a.first_pts) * self.a.time_base)
        return None if length is None else length - float(self._start)

    @property
    def first(self) -> Fraction:
        return self._start

    def info(self, width: int, height: int, pix_fmt: str) -> VideoInfo:
        """A's, as the film that is written has it."""
        return replace(
            self.a, width=width, height=height, pix_fmt=pix_fmt, rotation=0, display_matrix=None, color=self.canvas.color,
            sample_aspect_ratio=self.canvas.sample_aspect_ratio,
        )  # fmt: skip

    def writer(self, plan: OutputPlan, info: VideoInfo, encode: EncodeSettings) -> VideoWriter:
        clip = self.clip
        return VideoWriter(plan, info, encode, _mark(self.a, self.b), first=clip.start and clip.first_frame(), end=clip.end)

    def pairs(self, stack: ExitStack) -> tuple[Pairing, Fraction]:
        """The pairing of raw frames, and B's usual time per frame."""
        base = self.b.time_base
        begins = max(Fraction(0), self._start - self._offset - 1)  # what B shows at the start may have begun before
        first = Timestamp(self.b.first_pts + int(begins / base), base) if begins else None
        a = stack.enter_context(prefetch(self.clip.frames()))
        b = stack.enter_context(prefetch(self.b_reader.frames(first)))
        a_begins, b_begins = self.a.first_pts * self.a.time_base, self.b.first_pts * base - self._offset
        usual = 1 / self.b.average_rate if self.b.average_rate else Fraction(1, 25)
        return Pairing(a, b, a_begins, b_begins, max(base, self.a.time_base)), usual

    def fitted(self, pair: Pair) -> Pair:
        a, b = (fitter.fit(frame) for fitter, frame in zip(self.fitters, pair[:2]))
        if (self.box[0], self.box[1]) != (0, 0) or (a.width, a.height) != (self.canvas.width, self.canvas.height):
            a, b = cropped(a, self.box), cropped(b, self.box)
        return Pair(a, b, pair.seconds)


def _show(
    view: _View,
    video_stream: OutputPlan | None,
    page: _Page | None,
    settings: CompareSettings,
    encode: EncodeSettings,
    watch: Watch,
) -> tuple[int, list[str]]:
    """The one pass: decode both, fit, hand to whoever writes. Returns the number of frames and late notes."""
    composer = Composer(view.canvas, settings, view.labels if view.shows_labels else ("", ""))
    total = view.clip.frame_estimate
    done = 0
    with ExitStack() as stack:
        writer = None
        if video_stream is not None:
            writer = stack.enter_context(view.writer(video_stream, view.info(*composer.size, view.canvas.pix_fmt), encode))
        if page is not None:
            stack.enter_context(page)
        pairing, usual = view.pairs(stack)
        for raw in pairing:
            watch.check()
            pair = view.fitted(raw)
            if page is not None:
                page.push(pair)
            if writer is not None:
                writer.write(composer.compose(*pair))
            done += 1
            watch.report(Progress("render", done, total))
        for file in (view.clip.reader.file, view.b_reader.file):
            file.check()
        if not done:
            raise UsageError(f"{view.b.path}: shows nothing in the stretch asked for; check `offset`, `start` and `end`")
    watch.report(Progress("render", done, done))
    held = float(pairing.held_seconds)
    late = [f"B ends {held:.1f} s before A: its last picture is held."] if held > 2 * usual else []
    return done, late


def _film_plan(view: _View, output: Path, settings: CompareSettings, encode: EncodeSettings, force: bool) -> OutputPlan:
    size = Composer(view.canvas, settings, view.labels).size
    return plan_output(view.info(*size, view.canvas.pix_fmt), output, encode, force=force)


def _refuse_input(output: Path, video: Path, which: str) -> None:
    if output.exists() and output.samefile(video):
        raise OutputError(f"{output}: this is the {which} input itself. Name another output.")


class _Page:
    """Gathers stills, and writes both films where the page is a folder. A context manager; the page itself comes last."""

    def __init__(self, path: Path, view: _View, settings: CompareSettings, force: bool, at: Sequence[Fraction] = ()) -> None:
        self._view = view
        self._is_file = path.suffix.lower() in (".html", ".htm")
        self._folder = path.parent if self._is_file else path
        self.path = path if self._is_file else path / PAGE
        if self._is_file:
            check_page(path, force)
        else:
            check_folder(path, force)
            for name in _FILMS:
                _refuse_input(self._folder / name, view.a.path, "first")
                _refuse_input(self._folder / name, view.b.path, "second")
        self._picker = MomentPicker(settings.moments, view.first, view.shown_seconds(), at)
        self._films: list[VideoWriter] = []
        self._stack = ExitStack()

    def alone(self) -> AbstractContextManager[None]:
        """Nobody else writes this page meanwhile."""
        return writing(self.path) if self._is_file else working_in(self._folder)

    def __enter__(self) -> _Page:
        if not self._is_file:
            self.path.unlink(missing_ok=True)
            (self._folder / "stills").mkdir(parents=True, exist_ok=True)
            view = self._view
            info = view.info(view.canvas.width, view.canvas.height, "yuv420p")
            sound = [stream.index for stream in info.streams if stream.kind == "audio" and stream.codec in _BROWSER_AUDIO]
            for name, kept in zip(_FILMS, (sound[:1], [])):
                plan = _browser_plan(info, self._folder / name, kept)
                self._films.append(self._stack.enter_context(view.writer(plan, info, _PAGE_ENCODE)))
        return self

    def push(self, pair: Pair) -> None:
        self._picker.push(pair)
        for writer, frame in zip(self._films, pair[:2]):
            timed = replace(frame, pts=pair.a.pts, time_base=pair.a.time_base, duration=pair.a.duration)
            writer.write(_for_browsers(timed, self._view.canvas))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._stack.__exit__(kind, error, None)
        if error is None:
            self._write()

    def _write(self) -> None:
        view = self._view
        slides = [] if self._is_file else [Slide("The whole stretch", *_FILMS, is_film=True)]
        for number, moment in enumerate(self._picker.moments, 1):
            a, b = (self._still(frame, f"{number:02d}-{name}.jpg") for frame, name in zip(moment.pair[:2], "ab"))
            slides.append(Slide(clock(float(moment.pair.seconds)), a, b))
        title = f"{view.labels[0]} and {view.labels[1]}"
        text = compare_page(title, view.labels, view.canvas.display_size, slides, view.notes)
        try:
            write_whole(self.path, lambda file: file.write(text.encode("utf-8")))
        except OSError as error:
            raise OutputError(f"{self.path}: the page cannot be written ({error.strerror})") from error

    def _still(self, frame: Frame, name: str) -> str:
        """The picture's URL."""
        still = _jpeg(shown_rgb(frame), self._view.canvas.display_size)
        if self._is_file:
            return data_url(still)
        (self._folder / "stills" / name).write_bytes(still)
        return f"stills/{name}"


def _browser_plan(info: VideoInfo, path: Path, kept: Sequence[int]) -> OutputPlan:
    """H.264 in MP4 with nothing but these streams of A, whatever else A holds."""
    plan = plan_output(info, path, _PAGE_ENCODE, force=True)
    dropped = tuple(stream.index for stream in info.streams if stream.index not in kept)
    return replace(plan, path=path, container="mp4", dropped_streams=dropped)


def _for_browsers(frame: Frame, canvas: Canvas) -> Frame:
    if frame.pix_fmt == "yuv420p":
        return frame
    return painted(frame, replace(canvas, pix_fmt="yuv420p"), to_rgb_float(frame, (0, 0, frame.width, frame.height)))


def _jpeg(rgb: UInt8, display_size: tuple[int, int]) -> bytes:
    scale = min(1.0, _LONGEST_SIDE / max(display_size))
    size = max(1, round(display_size[0] * scale)), max(1, round(display_size[1] * scale))
    if (rgb.shape[1], rgb.shape[0]) != size:
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    return jpeg(rgb)


def _face_box(clip: Clip, canvas: Canvas) -> Box | None:
    """Around the largest face of each of a few pictures; None without any. Canvas px, between chroma samples."""
    detector = make_detector(SurveySettings())
    info = clip.info
    first = clip.start.pts if clip.start else info.first_pts
    last = clip.end.pts if clip.end else info.first_pts + int(Fraction(info.duration_seconds or 0) / info.time_base)
    boxes = []
    with DisplayPictures(clip) as pictures:
        for look in range(_LOOKS):
            rgb = pictures.at(first + (last - first) * look // _LOOKS)
            faces = [found.box for found in detector.detect(rgb) if found.score >= SurveySettings().min_score]
            if faces:
                boxes.append(max(faces, key=lambda box: float((box[2] - box[0]) * (box[3] - box[1]))))
    if not boxes:
        return None
    margin = _FACE_MARGIN * np.median([box[2:] - box[:2] for box in boxes], axis=0)
    low, high = np.min([box[:2] for box in boxes], axis=0) - margin, np.max([box[2:] for box in boxes], axis=0) + margin
    scale = np.array([canvas.width, canvas.height]) / info.display_size
    steps = np.maximum(2, 1 << np.array(canvas.layout.chroma_shift))
    x0, y0 = (np.maximum(0, low * scale) // steps * steps).astype(int)
    x1, y1 = np.minimum([canvas.width, canvas.height], -(-(high * scale) // steps) * steps).astype(int)
    return (int(x0), int(y0), int(x1), int(y1)) if x1 > x0 and y1 > y0 else None


def _names(a: Path, b: Path) -> tuple[str, str]:
    """The files' names; with their folders where they are the same."""
    if a.stem != b.stem:
        return a.stem, b.stem
    if a.name != b.name:
        return a.name, b.name
    return f"{a.absolute().parent.name}/{a.stem}", f"{b.absolute().parent.name}/{b.stem}"


def _mark(a: VideoInfo, b: VideoInfo) -> dict[str, str]:
    """B's mark, where it was restored and A not: what is written shows B's faces, too."""
    if read_restoration_marks(a.metadata) or not read_restoration_marks(b.metadata):
        return {}
    comment = next(text for key, text in b.metadata.items() if key.lower() == "comment")
    return {next((key for key in a.metadata if key.lower() == "comment"), "comment"): comment}


def _size(info: VideoInfo) -> str:
    return "{}x{}".format(*info.display_size)
