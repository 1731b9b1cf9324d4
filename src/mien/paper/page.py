"""Sections of texts, tables and figures to one self-contained page."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
from jinja2 import Environment, PackageLoader
from matplotlib.figure import Figure

from mien.files import atomic_path, make_folder, write_text

__all__ = ["Gap", "Picture", "Section", "Table", "Text", "write_page"]

#: So that the same figure is the same file, together with names of marks that are not drawn at random.
WITHOUT_DATE = {"Date": None}
PNG_DPI = 130
FIGURE = re.compile(r'href="(figures/[\w-]+\.(?:svg|png))"')  # as the template links to them


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of texts under a head."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    marked: frozenset[int] = frozenset()  # rows that are told apart: what the paper prints
    kind: str = "table"


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure under a name of its own."""

    name: str
    figure: Figure
    caption: str
    trained: bool = False  # whether it shows what was trained for the page
    kind: str = "picture"


@dataclass(frozen=True, slots=True)
class Gap:
    """What is missing, and why."""

    text: str
    kind: str = "gap"


Block = Text | Table | Picture | Gap


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page."""

    title: str
    blocks: list[Block] = field(default_factory=list)


def write_page(sections: Sequence[Section], out: Path, *, title: str, facts: Sequence[str], quick: bool) -> None:
    """Write index.html, which holds all it shows, and each figure as figures/NAME.svg and .png, into a folder.

    facts: lines on what the page was made from.  quick: whether it is marked as made from a sample.
    Figures that an older page of the folder shows and this one does not are removed.
    OutputError where the folder cannot be written.
    """
    make_folder(out / "figures")
    index = out / "index.html"
    older = set(FIGURE.findall(index.read_text("utf-8", errors="replace"))) if index.is_file() else set()
    drawn: dict[str, str] = {}
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Picture):
                drawn[block.name] = _save(block, out / "figures", quick=quick)
    environment = Environment(loader=PackageLoader("mien.paper", "."), autoescape=True, trim_blocks=True)
    page = environment.get_template("page.html.jinja").render(
        sections=sections, drawn=drawn, title=title, facts=facts, quick=quick
    )
    write_text(index, page + "\n")
    for name in older - set(FIGURE.findall(page)):
        (out / name).unlink(missing_ok=True)


def _save(picture: Picture, folder: Path, *, quick: bool) -> str:
    """Write a figure in both formats; return the SVG as the address of a picture."""
    if quick and picture.trained:
        picture.figure.text(
            0.5, 0.5, "quick look", fontsize=40, color="0.5", alpha=0.25, ha="center", va="center", rotation=20
        )
    with matplotlib.rc_context({"svg.hashsalt": "mien"}):
        drawing = io.BytesIO()
        picture.figure.savefig(drawing, format="svg", metadata=WITHOUT_DATE)
    with atomic_path(folder / f"{picture.name}.svg") as temporary:
        temporary.write_bytes(drawing.getvalue())
    with atomic_path(folder / f"{picture.name}.png") as temporary:
        picture.figure.savefig(temporary, dpi=PNG_DPI)
    return "data:image/svg+xml;base64," + base64.b64encode(drawing.getvalue()).decode()
