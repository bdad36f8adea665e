"""How steady restored videos are: clean clips are damaged, restored in several ways, and all versions measured side by side.

clean clip -> a short lossless stretch -> damaged -> restored with each variant -> measured in step -> one report.
Variants that differ in rendering alone are rendered from one kept store, so that they show the very same restored faces.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from iconface_video.degrade.damaged_files import degrade_clip
from iconface_video.degrade.presets import effects_named
from iconface_video.errors import InputError, UsageError
from iconface_video.faces.detector import make_detector
from iconface_video.lab.evaluate.identity_metrics import TEACHERS_SAYING
from iconface_video.lab.evaluate.picture_metrics import find_lpips
from iconface_video.lab.evaluate.video_measure import (
    CLEAN,
    DEGRADED,
    Embed,
    Instruments,
    Measurement,
    Version,
    measure_versions,
)
from iconface_video.lab.evaluate.video_report import Case, fill, versions_to_show
from iconface_video.lab.evaluate.video_summary import Figures, add_against, figures_of, mean_figures, read_earlier
from iconface_video.lab.evaluate.video_variants import USUAL, SideBySide, Variant, parse_variants, slug, sound_offsets_ms
from iconface_video.pages.tables import Note, Report, check_folder, write_report
from iconface_video.pipelines.render import render_store
from iconface_video.pipelines.restore import restore_video
from iconface_video.pipelines.survey import survey
from iconface_video.restore.crop_store import CropStore, read_header
from iconface_video.restore.face_model import FaceModel
from iconface_video.session.clip import Clip, OnProgress, Watch
from iconface_video.session.fingerprint import hash_file
from iconface_video.session.networks import load_embedder
from iconface_video.session.work import CROPS
from iconface_video.settings import EncodeSettings, LoadSettings, RestoreSettings, RunSettings
from iconface_video.types import Progress, Survey
from iconface_video.video.output_plan import plan_output
from iconface_video.video.reader import VideoReader
from iconface_video.video.writer import VideoWriter

_LOSSLESS = EncodeSettings(codec="h264", crf=0, preset="ultrafast")
"""Of the clean stretch and of every output: what is measured is the restoring, not a codec."""

Identity = Literal["auto", "dlib", "embedded"]


@dataclass(frozen=True)
class VideoChoice:
    """What is compared, on what."""

    clips: tuple[Path, ...]
    damages: tuple[str, ...] = ("medium", "heavy")
    """Presets of `iconface-video degrade`."""
    variants: tuple[Variant, ...] = field(default_factory=lambda: parse_variants(USUAL))
    """The first one is what the aims are asked of."""
    start: Fraction = Fraction(0)
    """Seconds into each clip."""
    seconds: Fraction = Fraction(3)
    settings: RunSettings = field(default_factory=RunSettings)
    """What the variants change."""
    against: Path | None = None
    """An earlier report's folder, of another release perhaps, to stand beside."""
    still: bool = False
    """The stretch's first frame stands for all: a face that does not move, so that all that moves is made up."""
    size: int = 256
    """px of the measured crops."""
    seed: int = 42
    """Of the damage."""
    identity: Identity = "auto"
    """Who tells people apart: dlib's network (the extra 'train'), or the embedded encoder, which also guides the model."""

    def __post_init__(self) -> None:
        if not self.clips or not self.damages or not self.variants:
            raise UsageError("nothing to do: give at least one clip, one kind of damage and one variant")
        names = [path.stem for path in self.clips]
        if len(set(map(slug, names))) < len(names):
            raise UsageError("two of the clips have one name; the report could not tell them apart")
        for damage in self.damages:
            effects_named(damage, [])


def evaluate_video(
    choice: VideoChoice,
    out: Path,
    *,
    command: str = "",
    force: bool = False,
    model: FaceModel | None = None,
    embed: Embed | None = None,
    on_progress: OnProgress | None = None,
) -> Report:
    """Measure and write the report into the folder `out`.

    model: instead of the one that the settings name (its own sampler settings hold then).  embed: identity embeddings for
    restoring.  Raises what `restore_video` raises; UsageError, OutputError.
    """
    check_folder(out, force)
    # Before it is written over, and before hours of work.
    earlier = None if choice.against is None else read_earlier(choice.against)
    watch = Watch(on_progress, None)
    instruments, notes = _instruments(choice)
    work = _Work(choice, model, embed or load_embedder(), instruments, watch, out)
    cases = [work.case(clip, damage) for clip in choice.clips for damage in choice.damages]
    report = Report("Steadiness of restored videos", command, choice.seed, _described(choice), summary=_summary(choice))
    names = [CLEAN, DEGRADED, *(variant.name for variant in choice.variants)]
    fill(report, cases, choice.variants[0].name, versions_to_show(names, choice.variants[0].name))
    report.sections[0].add(*(Note(text) for text in notes))
    if earlier is not None:
        add_against(report, mean_figures([case.figures for case in cases]), earlier, report.settings)
    write_report(report, out, force=True)
    return report


def _summary(choice: VideoChoice) -> str:
    stretch = "one frame, repeated" if choice.still else f"{float(choice.seconds):g} s"
    scale = choice.settings.render.scale
    larger = "" if scale == 1 else f" Restored ones are {scale:g} times as large; each is brought to the crops' size."
    return (
        f"{len(choice.clips)} clips ({stretch} each), damage {', '.join(choice.damages)}; {len(choice.variants)} ways to restore, "
        f"same model. All figures on face crops of {choice.size} px; outputs written without loss."
        f"{larger}"
    )


def _described(choice: VideoChoice) -> dict[str, object]:
    return {
        "clips": [path.name for path in choice.clips],
        "damage": list(choice.damages),
        "variants": [variant.name for variant in choice.variants],
        "start": float(choice.start),
        "seconds": float(choice.seconds),
        "still": choice.still,
        "identity": choice.identity,
        "size": choice.size,
        "settings": asdict(choice.settings),
    }


def _instruments(choice: VideoChoice) -> tuple[Instruments, list[str]]:
    lpips, lpips_note = find_lpips()
    embed, note = _identity(choice.identity)
    detector = make_detector(replace(choice.settings.survey, detection_size=max(160, choice.size)))
    return Instruments(embed, detector, lpips), [note, lpips_note]


def _identity(kind: Identity) -> tuple[Embed, str]:
    """dlib's network guided the model only through the encoder that it taught, so it is the fairer judge of the two."""
    if kind in ("auto", "dlib"):
        try:
            from iconface_video.lab.train.teacher import Teacher

            return Teacher().embed, f"Identity: dlib's face network. {TEACHERS_SAYING}"
        except InputError:
            if kind == "dlib":
                raise
    return load_embedder(), "Identity: the embedded encoder, which also guides the model: take it as a hint only."


@dataclass(frozen=True, eq=False)
class _Run:
    """A variant that was restored."""

    name: str
    settings: RunSettings
    work: Path
    seconds: float
    """Of the model's part, per face."""

    def finds_alike(self, settings: RunSettings) -> bool:
        """Whether the first two stages give the same for these settings."""
        return (self.settings.read, self.settings.survey, self.settings.anchors) == (
            settings.read,
            settings.survey,
            settings.anchors,
        )

    @property
    def faces(self) -> list[str]:
        """What was restored, to the bit."""
        return [hash_file(path) for path in sorted((self.work / CROPS).glob("*.crops"))]


def _equal_runs(runs: Sequence[_Run]) -> list[str]:
    """Notes on variants whose faces came out the same although another noise, step number or start was asked for."""
    notes, left = [], list(runs)
    while left:
        first, *others = left
        same = [run for run in others if run.finds_alike(first.settings) and run.faces == first.faces]
        left = [run for run in others if run not in same]
        if same:
            names = ", ".join(f"'{run.name}'" for run in same)
            notes.append(
                f"{names} restored the same faces as '{first.name}', to the bit: what sets them apart does not reach this model's output."
            )
    return notes


def _store(work: Path) -> CropStore:
    return CropStore(work / CROPS, read_header(work / CROPS).segments)


@dataclass(frozen=True, eq=False)
class _Work:
    """All that the cases share."""

    choice: VideoChoice
    model: FaceModel | None
    embed: Embed
    instruments: Instruments
    watch: Watch
    out: Path
    done: list[str] = field(default_factory=list)
    """Variants made so far."""
    loaded: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    """Models, by checkpoint, device and how they are loaded."""

    @property
    def total(self) -> int:
        return len(self.choice.clips) * len(self.choice.damages) * len(self.choice.variants)

    def case(self, clip: Path, damage: str) -> Case:
        """Damage, restore, measure one clip."""
        with tempfile.TemporaryDirectory(prefix="iconface-video-") as name:
            folder = Path(name)
            self.watch.check()
            clean = _stretch(clip, folder / "clean.mp4", self.choice)
            found = survey(clean, settings=self.choice.settings, embed=self.embed)
            if not found.tracks:
                raise InputError(f"{clip}: no face in the chosen stretch; choose another with --start and --seconds")
            degraded = degrade_clip(clean, folder / "degraded.mp4", effects_named(damage, []), self.choice.seed)
            versions = {CLEAN: Version(clean), DEGRADED: Version(degraded)}
            runs: list[_Run] = []
            for variant in self.choice.variants:
                versions[variant.name] = self._version(variant, degraded, folder, runs)
                self.done.append(variant.name)
                self.watch.report(Progress("evaluate", len(self.done), self.total, unit="runs"))
            title = slug(f"{clip.stem} {damage}")
            measurement, video_stream = self._measured(versions, found, title)
            spent = {run.name: run.seconds for run in runs}
            figures = {name: self._figures(measurement, name, versions, spent) for name in versions}
            notes = _equal_runs(runs)
        return Case(clip.stem, damage, figures, measurement, video_stream, tuple(notes))

    def _version(self, variant: Variant, degraded: Path, folder: Path, runs: list[_Run]) -> Version:
        """Restore, or render from the store of a variant whose faces are the same."""
        settings = replace(variant.settings(self.choice.settings), encode=_LOSSLESS)
        output, work = folder / f"{slug(variant.name)}.mp4", folder / f"{slug(variant.name)}.work"
        kin = [run for run in runs if run.finds_alike(settings)]
        twin = next((run for run in kin if run.settings.restore == settings.restore), None)
        if twin is not None:
            render_store(twin.work, output, render=settings.render, encode=_LOSSLESS)
            return Version(output, _store(twin.work))
        if kin:
            shutil.copytree(kin[0].work, work)  # its journal has survey and anchors; the faces are restored anew
        report = restore_video(
            degraded,
            output,
            settings=settings,
            work=work,
            keep_work=True,
            model=self._model(settings.restore),
            embed=self.embed,
        )
        spent = report.seconds.get("restore", 0.0) / max(1, report.faces_restored)
        runs.append(_Run(variant.name, settings, work, spent))
        return Version(output, _store(work))

    def _model(self, settings: RestoreSettings) -> FaceModel:
        """One set of weights for all variants, each with its own sampler settings."""
        if self.model is not None:
            return self.model
        from iconface_video.models.checkpoints import load_model
        from iconface_video.restore.iconface import IConFaceRestorer

        loading = [getattr(settings, item.name) for item in fields(LoadSettings)]
        key = (settings.model, settings.device, *loading)
        if key not in self.loaded:
            self.loaded[key] = load_model(settings.model, settings.device, options=settings, lora_form="fused")
        return IConFaceRestorer(self.loaded[key], settings)

    def _measured(self, versions: dict[str, Version], found: Survey, title: str) -> tuple[Measurement, str]:
        shown = versions_to_show(list(versions), self.choice.variants[0].name)
        main = max(found.tracks, key=len).track_id
        video_stream = Path("clips") / f"{title}.mp4"
        with ExitStack() as stack:
            writer = stack.enter_context(SideBySide(self.out / video_stream, shown))

            def write(track_id: int, seconds: float, crops: object) -> None:
                if track_id == main:
                    writer.write(seconds, crops)  # type: ignore[arg-type]

            measurement = measure_versions(
                versions, found, self.instruments, self.choice.size, self.choice.settings.read, write, self.watch.check
            )
        return measurement, str(video_stream)

    def _figures(self, measurement: Measurement, name: str, versions: dict[str, Version], spent: dict[str, float]) -> Figures:
        figures = figures_of(measurement, name)
        offsets = sound_offsets_ms(versions[DEGRADED].path, versions[name].path)
        if offsets is not None:
            figures["sound_begin"], figures["sound_end"] = offsets
        if name in spent:
            figures["seconds"] = spent[name]
        return figures


def _stretch(clip: Path, out: Path, choice: VideoChoice) -> Path:
    """The chosen seconds of a clean clip, without loss; with `still` its first frame again and again."""
    encode = replace(_LOSSLESS, encoder_threads=1)
    with VideoReader(clip, choice.settings.read) as reader:
        part = Clip(reader, choice.start, choice.start + choice.seconds)
        plan = plan_output(reader.info, out, encode, force=False)
        first = None
        with VideoWriter(plan, reader.info, encode, first=part.first_frame(), end=part.end) as writer:
            for frame in part.frames():
                first = first or frame
                writer.write(replace(frame, planes=first.planes) if choice.still else frame)
    return plan.path
