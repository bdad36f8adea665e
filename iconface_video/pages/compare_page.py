"""A page with sliders: drag, or use the arrow keys, to see one picture or the other. No network, no libraries."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from iconface_video import __version__


@dataclass(frozen=True)
class Slide:
    """Two pictures (or films) of the same moment, under one slider."""

    title: str
    a: str
    """URL, relative or data:."""
    b: str
    is_film: bool = False


def data_url(content: bytes, kind: str = "image/jpeg") -> str:
    """For a page that is one file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5b6168; --page: #fff; --line: #d6d9dd; --band: #f4f5f7; --mark: #0b63c5; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7e9ec; --soft: #a3aab2; --page: #16181b; --line: #3a3f45; --band: #1f2226; --mark: #6db1ff; }
}
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 80rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; margin: .5rem 0; overflow-wrap: anywhere; } p, footer { color: var(--soft); max-width: 70ch; }
figure { margin: 1.5rem auto; max-width: max(18rem, min(100%, calc(var(--wide) * 2px), calc(86vh * var(--wide) / var(--high)))); } figcaption { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; margin-top: .4rem; }
figcaption b { font-variant-numeric: tabular-nums; margin-right: auto; }
.view { position: relative; aspect-ratio: var(--wide) / var(--high); overflow: hidden; background: #000; border-radius: 6px; --at: 50%; }
.view.real { width: calc(var(--wide) * 1px); } .scroll { overflow: auto; padding: 5px; }
.view img, .view video { position: absolute; inset: 0; width: 100%; height: 100%; display: block; object-fit: fill; }
.view .a { clip-path: inset(0 calc(100% - var(--at)) 0 0); }
.view .bar { position: absolute; top: 0; bottom: 0; left: var(--at); width: 3px; margin-left: -1.5px; background: #fff; box-shadow: 0 0 3px #000; pointer-events: none; }
.view .bar::after { content: "\\2194"; position: absolute; top: 50%; left: 50%; translate: -50% -50%; width: 2.2rem; height: 2.2rem; line-height: 2.2rem;
  text-align: center; border-radius: 50%; background: #fff; color: #222; box-shadow: 0 0 4px #000; }
.view input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: ew-resize; touch-action: pan-y; }
.view:focus-within { outline: 3px solid var(--mark); outline-offset: 2px; }
.name { position: absolute; top: .5rem; max-width: 45%; padding: .1rem .5rem; border-radius: 4px; background: #000a; color: #fff; font-size: .85rem;
  pointer-events: none; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.name.left { left: .5rem; } .name.right { right: .5rem; }
button { font: inherit; color: inherit; background: var(--band); border: 1px solid var(--line); border-radius: 6px; padding: .25rem .8rem; min-height: 2.4rem; cursor: pointer;
  max-width: 14rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
button:focus-visible { outline: 3px solid var(--mark); } .seek { flex: 1 1 8rem; accent-color: var(--mark); }
.play { min-width: 5.5rem; }
@media print { .view input, button, .seek { display: none; } }
"""

_SCRIPT = """
"use strict";
for (const figure of document.querySelectorAll("figure")) {
  const view = figure.querySelector(".view"), range = view.querySelector("input");
  const move = value => { range.value = value; view.style.setProperty("--at", value / 10 + "%");
    view.querySelector(".left").hidden = value < 120; view.querySelector(".right").hidden = value > 880; };
  range.addEventListener("input", () => move(range.value));
  for (const button of figure.querySelectorAll("[data-to]")) button.addEventListener("click", () => move(button.dataset.to));
  figure.querySelector(".size").addEventListener("click", event => {
    event.target.setAttribute("aria-pressed", view.classList.toggle("real")); });
  const films = figure.querySelectorAll("video"), play = figure.querySelector(".play"), seek = figure.querySelector(".seek");
  if (!films.length) continue;
  const [lead, follow] = [figure.querySelector("video.a"), figure.querySelector("video.b")];
  const shown = () => { play.textContent = lead.paused ? "Play" : "Pause"; };
  play.addEventListener("click", () => { if (lead.paused) { follow.currentTime = lead.currentTime; lead.play(); follow.play(); }
    else { lead.pause(); follow.pause(); follow.currentTime = lead.currentTime; } });
  for (const name of ["play", "pause", "ended"]) lead.addEventListener(name, shown);
  lead.addEventListener("ended", () => follow.pause());
  lead.addEventListener("timeupdate", () => {
    if (lead.duration) seek.value = 1000 * lead.currentTime / lead.duration;
    if (Math.abs(follow.currentTime - lead.currentTime) > .08) follow.currentTime = lead.currentTime; });
  seek.addEventListener("input", () => { if (lead.duration) { lead.currentTime = follow.currentTime = seek.value / 1000 * lead.duration; } });
}
"""


def compare_page(
    title: str, labels: tuple[str, str], size: tuple[int, int], slides: Sequence[Slide], notes: Sequence[str] = ()
) -> str:
    """The page's text.

    size: (width, height) of the pictures in square pixels.  notes: sentences for the reader.
    """
    style = f"--wide: {size[0]}; --high: {size[1]}"
    figures = "\n".join(_figure(slide, labels, style) for slide in slides)
    said = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main><h1>{escape(title)}</h1>"
        f"<p>Left of the divider: {escape(labels[0])}; right of it: {escape(labels[1])}. Drag it, or select a picture with Tab "
        f"and use the arrow keys.</p>{said}\n{figures}</main>"
        f"<footer><p>Made by iconface-video {escape(__version__)}.</p></footer><script>{_SCRIPT}</script></body></html>\n"
    )


def _figure(slide: Slide, labels: tuple[str, str], style: str) -> str:
    names = f'<span class="name left">{escape(labels[0])}</span><span class="name right">{escape(labels[1])}</span>'
    return (
        f'<figure style="{style}"><div class="scroll"><div class="view">{_layer(slide, "b", labels[1])}{_layer(slide, "a", labels[0])}'
        f'<span class="bar"></span>{names}<input type="range" min="0" max="1000" step="10" value="500" '
        f'aria-label="{escape(slide.title)}: divider, {escape(labels[0])} left, {escape(labels[1])} right"></div></div>'
        f"<figcaption><b>{escape(slide.title)}</b>{_player() if slide.is_film else ''}"
        f'<button type="button" data-to="1000">{escape(labels[0])}</button><button type="button" data-to="500">Half</button>'
        f'<button type="button" data-to="0">{escape(labels[1])}</button>'
        '<button type="button" class="size" aria-pressed="false">Actual size</button></figcaption></figure>'
    )


def _player() -> str:
    return (
        '<button type="button" class="play">Play</button>'
        '<input class="seek" type="range" min="0" max="1000" value="0" aria-label="Position in the film">'
    )


def _layer(slide: Slide, which: str, label: str) -> str:
    source = escape(slide.a if which == "a" else slide.b)
    if slide.is_film:
        muted = " muted" if which == "b" else ""
        return f'<video class="{which}" src="{source}" preload="metadata" playsinline{muted}></video>'
    return f'<img class="{which}" src="{source}" alt="{escape(label)}, {escape(slide.title)}">'
