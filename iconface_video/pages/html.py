"""report.html: one page without scripts or network, readable in light and dark, on a phone and printed."""

from __future__ import annotations

from html import escape
from typing import Any

from iconface_video import __version__
from iconface_video.pages.tables import (
    JSON,
    PICTURES,
    Cell,
    Item,
    Note,
    Plot,
    Report,
    Section,
    Sheet,
    Table,
    Value,
    library_versions,
    picture_files,
    sheet_file,
)

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5b6168; --page: #fff; --line: #d6d9dd; --band: #f4f5f7; --mark: #a15c00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7e9ec; --soft: #a3aab2; --page: #16181b; --line: #3a3f45; --band: #1f2226; --mark: #f0b35a; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 100rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
p, figcaption, caption { max-width: 70ch; } figcaption, caption, footer { color: var(--soft); font-size: .9rem; text-align: left; }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: 1rem 0; font-size: .92rem; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; } thead th { background: var(--band); } tbody tr:nth-child(even) { background: var(--band); }
td small { color: var(--soft); } figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
.warning { border-left: 4px solid var(--mark); padding-left: .8rem; } code, pre { background: var(--band); padding: .1rem .3rem; }
pre { padding: .7rem; overflow-x: auto; white-space: pre-wrap; } dt { font-weight: 600; } dd { margin: 0 0 .3rem 1rem; overflow-wrap: anywhere; }
"""


def page(report: Report) -> str:
    """The whole page; refers to the files of the folder beside it by relative names only."""
    parts = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(report.title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(report.title)}</h1>",
        _paragraphs(report.summary),
        f"<pre>{escape(report.command)}</pre>",
        *(_section(section) for section in report.sections),
        f"<h2>{escape(report.settings_title)}</h2>",
        _settings({**report.settings, "seed": report.seed}),
        f"<footer><p>iconface-video {escape(__version__)}; {escape(_libraries())}. Every figure with all its digits: "
        f"{_links((JSON, *report.attachments))}.</p></footer></body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _links(names: tuple[str, ...]) -> str:
    return ", ".join(f'<a href="{escape(name)}">{escape(name)}</a>' for name in names)


def _libraries() -> str:
    return ", ".join(f"{name} {version}" for name, version in library_versions().items())


def _paragraphs(text: str) -> str:
    return "\n".join(f"<p>{escape(part)}</p>" for part in text.split("\n\n") if part.strip())


def _section(section: Section) -> str:
    items = "\n".join(_item(item) for item in section.items)
    return f"<section><h2>{escape(section.title)}</h2>\n{_paragraphs(section.text)}\n{items}</section>"


def _item(item: Item) -> str:
    if isinstance(item, Note):
        kind = ' class="warning"' if item.warning else ""
        return f"<p{kind}>{escape(item.text)}</p>"
    if isinstance(item, Table):
        return _table(item)
    if isinstance(item, Plot):
        return _plot(item)
    return _sheet(item)


def _table(table: Table) -> str:
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    rows = []
    for first, *rest in table.rows:
        cells = "".join(f"<td>{_cell(cell)}</td>" for cell in rest)
        rows.append(f'<tr><th scope="row">{_cell(first)}</th>{cells}</tr>')
    body = "\n".join(rows)
    return f'<div class="wide"><table id="{table.name}">{caption}<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def _cell(cell: Cell) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, Value):
        error = "" if cell.error is None else f" <small>± {cell.error:.{cell.digits}f}</small>"
        return f"{cell.mean:.{cell.digits}f}{error}"
    return escape(str(cell))


def _plot(plot: Plot) -> str:
    light, dark = picture_files(plot)
    caption = f"<figcaption>{escape(plot.caption)}</figcaption>" if plot.caption else ""
    return (
        f'<figure><picture><source srcset="{PICTURES}/{dark}" media="(prefers-color-scheme: dark)">'
        f'<img src="{PICTURES}/{light}" alt="Plot: {escape(plot.title)}"></picture>{caption}</figure>'
    )


def _sheet(sheet: Sheet) -> str:
    columns = ", ".join(sheet.columns)
    caption = f"<figcaption>{escape(sheet.caption)}</figcaption>" if sheet.caption else ""
    return (
        f'<figure><a href="{PICTURES}/{sheet_file(sheet)}"><img src="{PICTURES}/{sheet_file(sheet)}" loading="lazy" '
        f'alt="{len(sheet.rows)} rows of pictures: {escape(columns)}"></a>{caption}</figure>'
    )


def _settings(settings: dict[str, Any]) -> str:
    rows = "".join(f"<dt>{escape(str(name))}</dt><dd>{escape(_text(value))}</dd>" for name, value in settings.items())
    return f"<dl>{rows}</dl>"


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(item) for item in value) or "none"
    return "none" if value is None else str(value)
