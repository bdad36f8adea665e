"""How every page is made: a template of `templates/` is filled in, and whatever is put into it is escaped.

Pages ask nothing of the network and share one style sheet, readable in light and dark, on a phone and printed. The page with
sliders, which needs nothing but its pictures, is here too.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from iconface_video import __version__
from iconface_video.errors import OutputError

_TEMPLATES = Environment(
    loader=PackageLoader("iconface_video.pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def check_page(path: Path, force: bool) -> None:
    """Raises OutputError where the page cannot stand; to be asked before the work begins."""
    if path.is_dir():
        raise OutputError(f"{path}: this is a folder. Name a file that ends in .html.")
    if path.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"{path}: a report is a page, its name ends in .html.")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist. Create it or name another page.")
    if path.exists() and not force:
        raise OutputError(f"{path}: exists already. Use `force` to replace it, or name another page.")


def fill(template: str, values: Mapping[str, object]) -> str:
    """The page's text. template: file name in `templates/`.  values: what it names; `version` is always there."""
    return _TEMPLATES.get_template(template).render({"version": __version__, **values})


def data_url(content: bytes, kind: str = "image/jpeg") -> str:
    """A file as a URL that holds it, for a page that is one file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def clock(seconds: float) -> str:
    """ "1:02:03.50", "2:03.50"."""
    minutes, rest = divmod(round(seconds * 100), 6000)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02d}" if hours else f"{minutes}") + f":{rest // 100:02d}.{rest % 100:02d}"


@dataclass(frozen=True)
class Slide:
    """Two pictures (or films) of the same moment, under one slider."""

    title: str
    a: str
    """URL, relative or data:."""
    b: str
    is_film: bool = False


def compare_page(
    title: str, labels: tuple[str, str], size: tuple[int, int], slides: Sequence[Slide], notes: Sequence[str] = ()
) -> str:
    """A page with sliders: drag, or use the arrow keys, to see one picture or the other. No libraries.

    size: (width, height) of the pictures in square pixels.  notes: sentences for the reader.
    """
    return fill("compare.html", {"title": title, "labels": labels, "size": size, "slides": slides, "notes": notes})
