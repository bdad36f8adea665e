"""The command line. Each command parses, makes settings, and calls one pipeline; heavy imports happen inside the commands.

This is where all rooms come together: nothing else of a user's half knows the browser's or the researcher's commands.
"""

from __future__ import annotations

import ctypes
import io
import os
import signal
import sys
import traceback
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Annotated, ClassVar

import typer
from platformdirs import user_cache_path

from iconface_video import __version__
from iconface_video.cli.lazy_group import LazyGroup, Place
from iconface_video.errors import IconFaceError, notes_of
from iconface_video.video.suffixes import VIDEO_SUFFIXES

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD (mallopt(3))."""
_KEPT_BYTES, _LARGEST_REUSED = 1 << 30, 32 << 20
"""glibc takes no mmap threshold above 32 MiB."""


def reuse_freed_memory() -> bool:
    """Set it for this process; True where the C library takes it (glibc). Values of the user's own (MALLOC_...) are left.

    Frames, crops and tensors come and go by the megabyte; fetching each anew from the system took a sixth of a run's time.
    """
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_REUSED)) and bool(mallopt(_TRIM_THRESHOLD, _KEPT_BYTES))


INTERRUPTED = 130
OFFLINE = "HF_HUB_OFFLINE"
"""What the Hugging Face hub's library goes by (and `models.download`)."""
SPIN_COUNT = "10000"
"""Turns that an OpenMP thread waits busily; the library's own 300,000 stop a two-core machine that does something else, too."""


class Commands(LazyGroup):
    """All of them, in the order in which they are listed."""

    places: ClassVar = {
        "run": Place("iconface_video.cli.run_command", "run", "Restore the faces in a video."),
        "people": Place(
            "iconface_video.cli.people_command",
            "app",
            "Show who is in a video; keep people whom you want to be known in every video.",
        ),
        "render": Place(
            "iconface_video.cli.picture_commands",
            "render",
            "Make another output from a kept work folder, without running the model again.",
        ),
        "batch": Place("iconface_video.cli.batch_command", "batch", "Restore the faces in many videos."),
        "compare": Place(
            "iconface_video.cli.picture_commands", "compare", "Show two videos together: before and after, or two settings."
        ),
        "image": Place("iconface_video.cli.clips", "image", "Restore the faces of one photo."),
        "probe": Place(
            "iconface_video.cli.clips",
            "probe_file",
            "Show what is in a video file, and whether its faces were restored before.",
        ),
        "serve": Place(
            "iconface_video.web.serving",
            "serve",
            "Restore videos in the browser, on this machine: add a clip, see who is in it, look before you wait, restore, compare.",
        ),
        "doctor": Place("iconface_video.cli.program", "doctor", "Check this installation: versions, models, device, disk."),
        "config": Place("iconface_video.cli.program", "app", "Presets: see them, and make your own."),
        "models": Place(
            "iconface_video.cli.models_command",
            "app",
            "Which models there are, their licence and size, and where they are stored.",
        ),
        "degrade": Place(
            "iconface_video.cli.picture_commands",
            "degrade",
            "Damage a clip or a folder of pictures as old tapes, films and poor compression do.",
        ),
        "train": Place(
            "iconface_video.lab.train.train_command",
            "app",
            "Train the embedded weights. Interrupted runs go on from their last checkpoint.",
        ),
        "bench": Place("iconface_video.lab.bench.bench_command", "app", "How fast this machine is."),
        "evaluate": Place(
            "iconface_video.lab.evaluate.evaluate_command",
            "app",
            "Measure the restorer, the identity encoder, the detector, or a restored video.",
        ),
    }


app = typer.Typer(
    name="iconface-video",
    cls=Commands,
    help="Restore every face in a video: followed through time, true to the person, sound and timing intact.",
    epilog="In the browser, with the mouse: iconface-video serve --open. On the command line: iconface-video run tape.mp4",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"iconface-video {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the full traceback of an error; may stand anywhere.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask the network for nothing: models come from this machine; may stand anywhere.")
    ] = False,
) -> None:
    pass


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code: 0 done, 1 failure, 2 wrong usage or input, 130 interrupted.

    Errors are one sentence on stderr; with --debug the traceback precedes it.
    """
    # Before torch is loaded: its threads would wait for each other by spinning, ten times too long on a busy machine.
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    _keep_compiled_graphs()
    reuse_freed_memory()
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = _take(arguments, "--debug")
    if _take(arguments, "--offline"):
        os.environ[OFFLINE] = "1"  # before the hub's library is loaded; workers inherit it
    previous = _let_terminate_interrupt()
    _print_any_name()
    try:
        result = _command().main(
            _words(arguments) or ["--help"], prog_name="iconface-video", standalone_mode=False, obj=arguments
        )
        code = result if isinstance(result, int) else 0
        return _failed(_stopped(), code) if code == INTERRUPTED else code
    except IconFaceError as error:
        return _failed(" ".join([str(error), *notes_of(error)]), error.exit_code, debug)
    except typer.TyperException as error:
        return _failed(_one_line(error), error.exit_code, debug)
    except (KeyboardInterrupt, typer.Abort):
        return _failed(_stopped(), INTERRUPTED, debug)
    except BrokenPipeError:
        sys.stdout = None  # whoever read our output is gone
        return 1
    except Exception as error:
        hint = "" if debug else " Run it again with --debug for details."
        return _failed(" ".join([f"unexpected {type(error).__name__}: {error}.{hint}", *notes_of(error)]), 1, debug)
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


def _words(arguments: list[str]) -> list[str]:
    """As typer takes them."""
    if arguments[:1] != ["run"]:
        return arguments
    from iconface_video.cli.run_command import with_report_file

    return with_report_file(arguments)


def _stopped() -> str:
    from iconface_video.cli.display import STOPPED

    return STOPPED


@cache
def _command() -> typer.core.TyperGroup:
    """All commands; putting them together takes longer than a short one runs, and programs may call `main` many times."""
    return typer.main.get_command(app)  # type: ignore[return-value]


def _keep_compiled_graphs() -> None:
    """In the user's cache folder. Merely loading torch's compiler makes a folder in the temporary one, which nobody removes."""
    folder = user_cache_path("iconface-video", appauthor=False) / "compiled"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))


def _take(arguments: list[str], option: str) -> bool:
    """Removes an option wherever it stands before a lone "--"."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    given = option in arguments[:end]
    arguments[:end] = [item for item in arguments[:end] if item != option]
    return given


def _print_any_name() -> None:
    """File names that are no valid UTF-8 are printed with escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def _let_terminate_interrupt() -> signal._HANDLER:
    """A polite kill cleans up like Ctrl-C. None where this is not the main thread, which alone may set handlers."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        return signal.signal(signal.SIGTERM, interrupt)
    except ValueError:
        return None


def _one_line(error: typer.TyperException) -> str:
    """Typer's message, with the options that may have been meant."""
    message = error.format_message()
    meant = getattr(error, "possibilities", None)
    word = message.partition("No such command '")[2].rpartition("'")[0].partition("'")[0]
    if word and Path(word).suffix.lower() in VIDEO_SUFFIXES:
        return f"there is no command '{word}'. Did you mean 'run {word}'?"
    return f"{error.message}. Did you mean '{meant[0]}'?" if meant else message.strip()


def _failed(message: str, code: int, debug: bool = False) -> int:
    if debug:
        traceback.print_exc()
    if message:  # empty where the help was shown instead
        from iconface_video.cli.display import spelled

        print(f"error: {_printable(spelled(message))}", file=sys.stderr)
    return code


def _printable(message: str) -> str:
    """Line breaks, terminal commands and turns of the writing direction (file names may hold any) are spelled out."""
    return "".join(f"\\x{ord(sign):02x}" if unicodedata.category(sign) == "Cc" or sign in _TURNS else sign for sign in message)


_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
