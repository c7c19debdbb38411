"""A document as blocks, written as Markdown or as one HTML page that needs nothing else. `code`, **bold** in texts."""

import base64
import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; font-variant-numeric: tabular-nums; }
th, td { border: 1px solid #8886; padding: .25rem .5rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
tr:nth-child(even) td { background: #8881; }
img { max-width: 100%; background: #fff; }
code { background: #8882; padding: 0 .2em; border-radius: 3px; }
"""


class Heading(NamedTuple):
    """level: from 1."""

    level: int
    text: str


class Text(NamedTuple):
    """A paragraph."""

    text: str


class Bullets(NamedTuple):
    """A list."""

    items: Sequence[str]


class Grid(NamedTuple):
    """A table."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


class Picture(NamedTuple):
    """A PNG in the document's folder."""

    name: str
    said: str  # what it shows


Block = Heading | Text | Bullets | Grid | Picture


def markdown(blocks: Sequence[Block]) -> str:
    """Return the document, pictures as links."""
    return "\n\n".join(map(_markdown, blocks)) + "\n"


def page(title: str, blocks: Sequence[Block], folder: Path) -> str:
    """Return the document as HTML with the pictures of *folder* in it. Raises OSError."""
    body = "\n".join(_html(block, folder) for block in blocks)
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n'
    )


def _markdown(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {text}"
        case Text(text):
            return text
        case Bullets(items):
            return "\n".join(f"- {item}" for item in items)
        case Grid(head, rows):
            lines = [head, ["---"] * len(head), *rows]
            return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        case Picture(name, said):
            return f"![{said}]({name})"


def _html(block: Block, folder: Path) -> str:
    match block:
        case Heading(level, text):
            return f"<h{level}>{_inline(text)}</h{level}>"
        case Text(text):
            return f"<p>{_inline(text)}</p>"
        case Bullets(items):
            return "<ul>" + "".join(f"<li>{_inline(item)}</li>" for item in items) + "</ul>"
        case Grid(head, rows):
            return f"<table>{_row('th', head)}{''.join(_row('td', row) for row in rows)}</table>"
        case Picture(name, said):
            data = base64.b64encode((folder / name).read_bytes()).decode()
            return f'<p><img alt="{html.escape(said)}" src="data:image/png;base64,{data}"></p>'


def _row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{_inline(cell)}</{tag}>" for cell in cells) + "</tr>\n"


def _inline(text: str) -> str:
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", marked)
