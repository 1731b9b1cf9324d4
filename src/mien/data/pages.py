"""What the pages of a dataset share: one look, tables, and no need of anything else."""

from __future__ import annotations

import html
from collections.abc import Sequence

__all__ = ["bars", "bullets", "page", "table"]

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; } td, th { border: 1px solid #8886; padding: .3rem .6rem; }
td:not(:first-child) { text-align: right; } .facts td { text-align: left; overflow-wrap: anywhere; }
.row { display: flex; gap: .5rem; align-items: center; } .row span { width: 11rem; }
.row i { background: #0072B2; height: 1rem; } :root { color-scheme: light dark; }
"""


def page(title: str, *parts: str) -> str:
    """Return an HTML page of its own."""
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
<h1>{html.escape(title)}</h1>
{chr(10).join(parts)}
"""


def table(rows: Sequence[Sequence[str]], kind: str = "", *, header: bool = True) -> str:
    """Return rows as an HTML table, the first of them its header."""
    lines = []
    for number, row in enumerate(rows):
        tag = "th" if header and number == 0 else "td"
        lines.append("<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>")
    return f'<table class="{kind}">{"".join(lines)}</table>'


def bars(counts: Sequence[tuple[str, int]], *, largest: int = 0) -> str:
    """Return counts as bars; largest: the count of the longest bar, where several groups of bars are compared."""
    longest = largest or max((count for _, count in counts), default=0) or 1
    return "".join(
        f'<div class="row"><span>{html.escape(name)}</span>'
        f'<i style="width:{60 * count / longest:.2f}%"></i>{count:,}</div>'
        for name, count in counts
    )


def bullets(lines: Sequence[str], *, most: int, rest: str) -> str:
    """Return lines as a list, of more than `most` the first and how many there are in `rest`."""
    listed = "".join(f"<li>{html.escape(line)}</li>" for line in lines[:most])
    more = f"<p>and {len(lines) - most:,} more, in {html.escape(rest)}</p>" if len(lines) > most else ""
    return f"<ul>{listed or '<li>none</li>'}</ul>{more}"
