"""A page that holds all it shows."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from mien.media import read_image
from mien.paper.page import Gap, Picture, Section, Table, Text, write_page


def figure() -> Figure:
    drawn = Figure(figsize=(2, 2))
    drawn.subplots().plot([1, 2])
    return drawn


def written(out: Path, *, trained: bool = True, quick: bool = False) -> str:
    sections = [
        Section("First <one>", [Text("a & b"), Table("caption", ["x"], [["<1>"], ["2"]], frozenset({1}))]),
        Section("Second", [Picture("drawn", figure(), "a line", trained=trained), Gap("the rest.")]),
    ]
    write_page(sections, out, title="Page", facts=["made"], quick=quick)
    return (out / "index.html").read_text()


def test_texts_are_escaped_and_the_papers_rows_are_told_apart(tmp_path: Path) -> None:
    page = written(tmp_path)
    assert "First &lt;one&gt;" in page
    assert "a &amp; b" in page
    assert '<tr class="paper"><td>2</td></tr>' in page
    assert "<tr><td>&lt;1&gt;</td></tr>" in page
    assert '<p class="gap">Not here yet: the rest.</p>' in page


def test_the_page_loads_nothing_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    page = written(tmp_path)
    assert re.findall(r'src="([a-z]+:[a-z/+]+)', page) == ["data:image/svg+xml"]
    assert not re.search(r"https?://|<script|<link|url\(", page)
    for link in re.findall(r'href="([^"#]+)"', page):
        assert (tmp_path / link).is_file()
    assert set(re.findall(r'href="#([^"]+)"', page)) == set(re.findall(r'h2 id="([^"]+)"', page))


def test_figures_that_a_page_shows_no_more_are_removed_and_others_are_not(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "figures" / "own.png").write_bytes(b"")
    write_page([Section("Second", [Picture("other", figure(), "")])], tmp_path, title="Page", facts=[], quick=False)
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"other.png", "other.svg", "own.png"}


def test_the_same_figure_is_the_same_file(tmp_path: Path) -> None:
    written(tmp_path / "a")
    written(tmp_path / "b")
    for name in ("drawn.svg", "drawn.png"):
        assert (tmp_path / "a/figures" / name).read_bytes() == (tmp_path / "b/figures" / name).read_bytes()


@pytest.mark.parametrize(
    ("trained", "quick", "marked"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_a_quick_page_says_so_and_marks_the_figures_of_what_was_trained(
    tmp_path: Path, trained: bool, quick: bool, marked: bool
) -> None:
    page = written(tmp_path / "shown", trained=trained, quick=quick)
    written(tmp_path / "plain")
    shown, plain = (read_image(tmp_path / folder / "figures/drawn.png") for folder in ("shown", "plain"))
    assert ("A quick look." in page) == quick
    assert bool(np.any(shown != plain)) == marked
