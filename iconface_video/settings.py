"""Every user-visible setting, once: name, type, range, default, help and panel. Command line, presets and API read them here.

A setting is a field of a frozen dataclass, declared with `setting`; what only one command asks for is declared the same way, beside the
command. `cli.options` makes the options of a command from such dataclasses.
"""

from __future__ import annotations

import difflib
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, is_dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from iconface_video.errors import UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class OptionForm:
    """How a setting is written on the command line, where that does not follow from its name and type."""

    flags: tuple[str, ...] = ()
    """As typer takes them: ("--output", "-o"); --its-name when empty."""
    metavar: str | None = None
    is_argument: bool = False
    """Given by its place instead of by a flag."""
    read: Callable[[Any], Any] | None = None
    """Makes the value (each of several) of the text that was typed; raises UsageError or InputError."""
    written: str | None = None
    """The default as it would be typed, where `read` makes it."""
    shows_default: bool = True


def setting(
    default: T = MISSING,  # type: ignore[assignment]
    *,
    help: str,
    low: float | None = None,
    high: float | None = None,
    form: OptionForm | None = None,
    is_later: bool = False,
    earlier_name_of: str | None = None,
) -> T:
    """A dataclass field with help and an allowed range (both ends included); must be given where there is no default.

    is_later: it came after the first records of runs were written, see `recorded`.  earlier_name_of: another setting, which takes its
    value: it counts in no comparison, and stands in no record.
    """
    metadata = {"help": help, "low": low, "high": high, "form": form or OptionForm(), "is_later": is_later}
    metadata["earlier_name_of"] = earlier_name_of
    return field(default=default, metadata=metadata, compare=earlier_name_of is None)


@dataclass(frozen=True)
class Within:
    """The allowed range of a number, both ends included; None: no end. For `Annotated`."""

    low: float | None = None
    high: float | None = None


Share = Annotated[float, Within(0, 1)]
NonNegative = Annotated[float, Within(0)]
Count = Annotated[int, Within(1)]
CountOrZero = Annotated[int, Within(0)]


class Validated:
    """Mixin for settings dataclasses: each value is checked when it is born."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self), include_extras=True)
        for item in fields(self):  # type: ignore[arg-type]
            _check(item.name, getattr(self, item.name), hints[item.name], item.metadata)


_KINDS: dict[type, tuple[str, tuple[type, ...]]] = {
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    str: ("a text", (str,)),
}


def plain_type(hint: Any) -> Any:
    """The type of a setting that may also be None: `int | None` -> int."""
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    return kinds[0] if type(None) in get_args(hint) and len(kinds) == 1 else hint


def declared(kind: type[Any]) -> tuple[Field[Any], ...]:
    """The fields of a settings class: its own before those that it inherits."""
    own = inspect.get_annotations(kind)
    return tuple(sorted(fields(kind), key=lambda item: item.name not in own))


def recorded(settings: Any) -> dict[str, Any]:
    """As `asdict`, without settings that came later and stand at their default: records from before them still compare equal."""
    return {
        item.name: getattr(settings, item.name)
        for item in fields(settings)
        if not (item.metadata.get("is_later") and getattr(settings, item.name) == item.default)
        and not item.metadata.get("earlier_name_of")
    }


def _check(name: str, value: Any, hint: Any, metadata: Mapping[str, Any]) -> None:
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        metadata = {
            **metadata,
            **{key: end for extra in extras if isinstance(extra, Within) for key, end in asdict(extra).items()},
        }
    if value is None and type(None) in get_args(hint):
        return
    if get_origin(hint) is tuple:
        return _check_items(name, value, hint)
    if get_origin(plain_type(hint)) is Literal:
        hint = plain_type(hint)
        if value not in get_args(hint):
            meant = nearest(value, get_args(hint)) if isinstance(value, str) else ""
            raise UsageError(f"{name} is {value!r}, must be one of {', '.join(map(str, get_args(hint)))}.{meant}")
        return
    what, kinds = _KINDS.get(plain_type(hint), ("", (object,)))
    # bool is an int in Python, but `crf: true` is a slip.
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds and object not in kinds):
        raise UsageError(f"{name} is {value!r}, must be {what}")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return
    low, high = metadata.get("low"), metadata.get("high")
    # Written this way round so that "not a number" (nan) is refused as well.
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        raise UsageError(f"{name} is {value}, must be {_range(low, high)}")


def _check_items(name: str, value: Any, hint: Any) -> None:
    """hint: tuple[x, ...] or tuple[x, y, z]."""
    items = get_args(hint)
    if not isinstance(value, (tuple, list)):
        raise UsageError(f"{name} is {value!r}, must be a list")
    if items[-1] is Ellipsis:
        items = items[:1] * len(value)
    if len(value) != len(items):
        raise UsageError(f"{name} has {len(value)} values, must have {len(items)}")
    for item, kind in zip(value, items):
        _check(f"each of {name}" if len(items) > 1 else name, item, kind, {})


def _range(low: float | None, high: float | None) -> str:
    if high is None:
        return f"at least {low}"
    return f"at most {high}" if low is None else f"within [{low}, {high}]"


def nearest(word: str, known: typing.Iterable[str]) -> str:
    """ " Did you mean 'x'?" or an empty string."""
    words = list(known)
    swapped = [
        item for item in words if item != word and sorted(item) == sorted(word)
    ]  # letters that changed places, first of all
    found = swapped or difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f" Did you mean '{found[0]}'?" if found else ""


def from_mapping(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build (nested) settings from parsed YAML; lists become tuples. An unknown key is an error that names the nearest known one."""
    hints = get_type_hints(kind)
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise UsageError(f"{where}: unknown setting '{key}'.{nearest(key, known)}")
        hint = hints[key]
        if is_dataclass(hint):
            if not isinstance(value, dict):
                raise UsageError(f"{where}: '{key}' is a group of settings, got {value!r}")
            arguments[key] = from_mapping(typing.cast(type, hint), value, f"{where}: {key}")
        elif get_origin(hint) is tuple and not isinstance(value, (list, tuple)):
            raise UsageError(f"{where}: '{key}' is a list, as in [{value}], got {value!r}")
        else:
            arguments[key] = tuple(value) if isinstance(value, list) else value
    try:
        return kind(**arguments)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def default_of(kind: type[Any], name: str) -> Any:
    """The default of one setting."""
    for item in fields(kind):
        if item.name == name and item.default is not MISSING:
            return item.default
    raise KeyError(name)


NoiseKind = Literal["independent", "fixed", "mixed", "progressive", "warped"]

MAX_STRENGTH = 20.0
"""Of the damage that training, evaluation and `degrade` do to pictures; 0 is none."""


Fields = Literal["keep", "double", "half", "weave"]
EARLIER_FIELDS: dict[str, Fields] = {"auto": "keep", "on": "half", "off": "weave"}
"""What `deinterlace` said -> what `fields` says."""


@dataclass(frozen=True)
class ReadSettings(Validated):
    fields: Fields = setting(
        "keep",
        help="Of an interlaced video: restore each field as a picture and leave the video interlaced (keep), or make it progressive at "
        "twice the rate (double) or at its own (half); weave restores frames across their combs.",
    )
    deinterlace: Literal["auto", "on", "off"] | None = setting(
        None, earlier_name_of="fields", help="The earlier name of --fields: auto is keep, on is half, off is weave."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.deinterlace is not None:
            meant = EARLIER_FIELDS[self.deinterlace]
            if self.fields not in (default_of(ReadSettings, "fields"), meant):
                raise UsageError(
                    f"deinterlace {self.deinterlace} is the earlier name of fields {meant}, but fields is {self.fields}"
                )
            object.__setattr__(self, "fields", meant)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of what was given."""
        if self.deinterlace is None:
            return ()
        return (
            f"`deinterlace` is called `fields` now: '{self.deinterlace}' is '{self.fields}'. The earlier name still works.",
        )


SMALLEST_FACE_PX = 8.0
"""Height of the smallest face that can be asked for; below it there is nothing to restore."""


@dataclass(frozen=True)
class SurveySettings(Validated):
    detector: Literal["centerface", "scrfd"] = setting("centerface", help="Face detector.")
    detection_size: int = setting(
        640, low=160, high=4096, help="Longer side in px to which the picture is scaled for detection."
    )
    min_score: float = setting(0.5, low=0.0, high=1.0, help="Detections from this score on start or continue a track.")
    low_score: float = setting(0.2, low=0.0, high=1.0, help="Detections from this score on may continue a track.")
    min_face_px: float = setting(
        24.0,
        low=SMALLEST_FACE_PX,
        high=4096,
        help="Smaller faces (box height) are left alone. Below the default they are looked for at a larger detection size, on a picture "
        "freed of noise, and believed at lower scores: up to four times the survey's time.",
    )
    max_gap_seconds: float = setting(0.5, low=0, high=5, help="How long a face may stay undetected before its track ends.")
    min_track_seconds: float = setting(0.2, low=0, high=10, help="Shorter tracks are left alone.")
    detect_every: int = setting(
        2,
        low=1,
        high=30,
        help="Detect on every n-th frame while faces hardly move (on each one otherwise); the motion filter bridges the others.",
    )
    embed_every_seconds: float = setting(0.5, low=0.05, high=60, help="How often a track's identity embedding is taken.")
    smoothing: float = setting(1.0, low=0, high=10, help="Strength of the crop window's smoothing; 0 keeps the raw landmarks.")
    cut_threshold: float = setting(27.0, low=1, high=255, help="Content change that counts as a cut (PySceneDetect's scale).")


@dataclass(frozen=True)
class AnchorSettings(Validated):
    max_references: int = setting(3, low=0, high=16, help="Pictures shown to the model per person.")
    reference_pool: int = setting(
        12,
        low=0,
        high=64,
        help="Pictures kept per person; each frame is shown those of them that are nearest in pose and expression.",
    )
    anchor_crops: int = setting(8, low=1, high=64, help="Most crops of a track that build its anchor.")
    picture_scale: float | None = setting(
        None, low=1.0, high=2.5, help="How much wider than the FFHQ frame these pictures are cut; as the faces when not given."
    )
    temperature: float = setting(1.0, low=0.01, high=100, help="T of IConFace eq. 4.")
    min_similarity: float = setting(0.40, low=-1, high=1, help="A reference photo fits a person from this cosine on.")
    same_person_similarity: float = setting(
        0.55, low=-1, high=1, help="Tracks whose pictures are on average this alike (cosine) are one person."
    )
    library: bool = setting(
        True,
        is_later=True,
        help="Recognise whom you added with `people add`; nobody is before that, and nothing leaves the machine.",
    )
    known_similarity: float = setting(
        0.54, low=-1, high=1, is_later=True, help="Somebody who was added is recognised from this cosine on."
    )


@dataclass(frozen=True, kw_only=True)
class LoadSettings(Validated):
    """How a model is brought to its device. What `load_model` takes; a run's settings of the model are these and more."""

    lora_scale: float = setting(1.0, low=0.0, high=2.0, help="How much of a full-size model's LoRA acts.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = setting("auto", help="Number format of the model.")
    compile: bool = setting(False, help="torch.compile the model's blocks: a slow beginning, faster afterwards.")
    quantize: Literal["none", "int8", "nf4"] = setting(
        "none", help="Weights of a large model in 8 bit (torchao) or 4 bit (bitsandbytes), for a GPU with little memory."
    )
    offload: bool = setting(False, help="Keep a large model in main memory and bring each layer to the GPU when it is run.")
    attention_backend: str | None = setting(
        None,
        is_later=True,
        help="diffusers' attention backend of a large model (native, flash, sage, xformers ...); torch's own when not given.",
    )
    compile_backend: str = setting("inductor", is_later=True, help="Backend of torch.compile.")
    vae_tiling: bool = setting(
        False, is_later=True, help="Encode and decode a large model's latents in tiles: large crops in little memory."
    )


@dataclass(frozen=True)
class RestoreSettings(LoadSettings):
    """Which model restores, and how."""

    model: str = setting("embedded", help="embedded, a checkpoint folder, or hub:owner/name.")
    steps: int | None = setting(None, low=1, high=100, help="Sampler steps; the model's own number when not given.")
    guidance_scale: float | None = setting(None, low=1.0, high=30.0, help="Classifier-free guidance; 1 is off.")
    start_sigma: float = setting(1.0, low=0.05, high=1.0, help="Noise level to start from; below 1 starts from the input.")
    start_from: str = setting(
        "input", help="What --start-sigma below 1 starts from: input, or the result of another model such as embedded."
    )
    noise: NoiseKind = setting("fixed", help="How frames of a track share noise.")
    seed: int = setting(42, low=0, high=2**63 - 1, help="Same seed, same result.")
    batch: int = setting(4, low=1, high=256, help="Faces per model call.")
    crop_size: int | None = setting(
        None, low=64, high=1024, help="Crop size in px (multiple of 16); by the face's size when not given."
    )
    neighbours: int = setting(
        3, low=0, high=3, is_later=True, help="Frames on each side of a face that are looked at beside it; 0: each frame alone."
    )
    crop_scale: float | None = setting(
        None, low=1.0, high=2.5, help="How much wider than the FFHQ frame faces are cut; the model's own when not given."
    )
    personalize: Literal["auto", "on", "off"] = setting(
        "auto",
        is_later=True,
        help="Learn each person who has photos before restoring, a minute or two each: where faces are so badly damaged that it pays "
        "(auto), always (on), never (off).",
    )
    max_sharpness: float = setting(
        0.0, low=0, high=1000, help="Faces sharper than this (Laplacian deviation) are left alone; 0 restores all."
    )
    max_yaw: float = setting(75.0, low=10, high=180, help="Faces turned further (degrees) are left alone.")
    segment_seconds: float = setting(
        10.0, low=0.1, high=600, help="Length of the pieces in which work is kept and shared between workers."
    )
    device: str = setting("auto", help="auto, cpu, cuda, cuda:N or mps; several with commas (cuda:0,cuda:1).")


@dataclass(frozen=True)
class RenderSettings(Validated):
    strength: float = setting(1.0, low=0.0, high=1.0, help="0 keeps the input, 1 gives the model's face.")
    mask: Literal["ellipse", "square"] = setting("ellipse", help="Shape of the blend.")
    feather: float = setting(0.25, low=0.02, high=0.5, help="Width of the mask's soft rim as a share of the crop.")
    color_match: bool = setting(True, help="Take the low frequencies of color and light from the input.")
    keep_monochrome: Literal["auto", "on", "off"] = setting(
        "auto",
        help="No invented color: keep the input's chroma where a face is black and white or toned (auto), always (on), never (off).",
    )
    grain: float = setting(0.0, low=0.0, high=1.0, help="Share of the input's own film grain that restored faces keep.")
    temporal_filter: bool = setting(
        True, help="Motion-compensated filter over the detail of restored faces: takes out flicker."
    )
    scale: float = setting(
        1.0,
        low=1.0,
        high=4.0,
        is_later=True,
        help="How much larger the picture becomes, such as 2 or 1.5: faces as fine as they were restored, the rest by Lanczos.",
    )
    square_pixels: bool = setting(
        False, is_later=True, help="Stretch a picture whose pixels are not square (most tapes) to square ones."
    )


@dataclass(frozen=True)
class EncodeSettings(Validated):
    codec: Literal["h264", "hevc", "prores", "ffv1"] = setting("h264", help="Video codec of the output.")
    crf: int = setting(16, low=0, high=51, help="Quality of h264 and hevc; lower is better.")
    preset: Literal[
        "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"
    ] = setting(
        "medium",
        help="Encoder preset of h264 and hevc: the slower, the smaller the file.",
        form=OptionForm(("--encoder-preset",)),  # --preset names a preset of ours
    )
    hardware: Literal["off", "nvenc"] = setting(
        "off", help="nvenc: encode h264 and hevc on an NVIDIA GPU; faster, larger files, other bytes on another GPU."
    )
    encoder_threads: int = setting(0, low=0, high=256, help="0: the usual number, the same on every machine.")


@dataclass(frozen=True)
class EngineSettings(Validated):
    engine: Literal["auto", "local", "workers", "ray"] = setting(
        "auto",
        help="Who runs the model: this process, workers on this machine (one for each device), or a Ray cluster; auto: "
        "workers where several are asked for.",
    )
    workers: int | None = setting(None, low=1, high=4096, help="Number of workers; one for each GPU when not given.")
    threads: int = setting(0, low=0, high=1024, help="Threads of each model on a CPU; 0: all cores. Last bits depend on it.")
    max_memory: str | None = setting(
        None, help="Most memory to take, such as 2G: shortens the queues and takes fewer faces per model call."
    )
    overlap: bool = setting(
        True, help="Write the video while faces are still being restored; the result is the same to the bit."
    )
    ray_address: str | None = setting(None, help="The Ray cluster, as host:port; RAY_ADDRESS when not given.")


@dataclass(frozen=True)
class RunSettings:
    """All settings of one run. panel: the heading of a section's options in the help."""

    read: ReadSettings = field(default_factory=ReadSettings, metadata={"panel": "Reading"})
    survey: SurveySettings = field(default_factory=SurveySettings, metadata={"panel": "Finding and following faces"})
    anchors: AnchorSettings = field(default_factory=AnchorSettings, metadata={"panel": "Who is who"})
    restore: RestoreSettings = field(default_factory=RestoreSettings, metadata={"panel": "The model"})
    render: RenderSettings = field(default_factory=RenderSettings, metadata={"panel": "Blending"})
    encode: EncodeSettings = field(default_factory=EncodeSettings, metadata={"panel": "Output video"})
    engine: EngineSettings = field(default_factory=EngineSettings, metadata={"panel": "Who does the work"})
