"""An audit as a page for people and a file for programs, beside the data."""

from __future__ import annotations

import html
import json
from pathlib import Path

from mien.data.audit import Audit
from mien.data.manifest import SPLITS, Dataset
from mien.files import atomic_folder

__all__ = ["AUDIT_NAME", "DATASHEET_NAME", "write_datasheet"]

DATASHEET_NAME = "datasheet.html"
AUDIT_NAME = "audit.json"
CONFLICTS_LISTED = 200
CONSTANT_LISTED = 20

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; } td, th { border: 1px solid #8886; padding: .3rem .6rem; }
td:not(:first-child) { text-align: right; } .facts td { text-align: left; overflow-wrap: anywhere; }
.row { display: flex; gap: .5rem; align-items: center; } .row span { width: 6rem; }
.row i { background: #0072B2; height: 1rem; } :root { color-scheme: light dark; }
"""


def write_datasheet(dataset: Dataset, found: Audit, folder: str | Path) -> Path:
    """Write `datasheet.html`, a page for people, and `audit.json`, the same for programs; return the page's path."""
    fields = {name: getattr(found, name) for name in Audit.__slots__}
    manifest = dataset.manifest
    fields = {"sha256": manifest.sha256, "crops": len(manifest), "crop": manifest.crop.to_json(), **fields}
    with atomic_folder(folder) as temporary:
        (temporary / AUDIT_NAME).write_text(json.dumps(fields, indent=1), encoding="utf-8")
        (temporary / DATASHEET_NAME).write_text(_page(dataset, found), encoding="utf-8")
    return Path(folder) / DATASHEET_NAME


def _page(dataset: Dataset, found: Audit) -> str:
    """Return the datasheet as one HTML page that needs nothing else."""
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Datasheet</title>
<style>{_STYLE}</style>
<h1>Datasheet</h1>
{_table(_facts(dataset, found), "facts", header=False)}
<h2>Class balance</h2>
{_table(_balance(found))}{_bars(found)}
<h2>Identical crops</h2>
<p>A crop of test or val that stands in train as well has been seen in training: scores on it say little.</p>
{_table(_twins(found))}
<h2>Identical crops with different labels</h2>
{_conflicts(found)}
"""


def _facts(dataset: Dataset, found: Audit) -> list[list[str]]:
    """Return what is known of the dataset as a whole: name, value."""
    manifest = dataset.manifest
    licences = sorted({licence for licence in manifest.licence if licence}) or ["not stated by the source"]
    people = {person for person in manifest.person if person}
    constant = f"{len(found.constant):,}: {', '.join(found.constant[:CONSTANT_LISTED])}" if found.constant else "none"
    return [
        ["crops", f"{len(manifest):,} of {'x'.join(map(str, manifest.crop.shape))} pixels, {manifest.crop.colour}"],
        ["people or clips named", f"{len(people):,}"],
        ["rows with votes", f"{found.voted:,}"],
        ["rows without a face", f"{found.missed:,}"],
        ["groups of identical crops", f"{found.groups:,}, of which {len(found.conflicts):,} carry different labels"],
        ["constant crops", constant],
        ["licence", ", ".join(licences)],
        ["decided in preparing", "; ".join(manifest.notes) or "nothing"],
        ["SHA-256", manifest.sha256],
    ]


def _balance(found: Audit) -> list[list[str]]:
    """Return the crops of each label in each split, with a header."""
    rows = [["", *found.labels, "all"]]
    for split, counts in found.balance.items():
        total = sum(counts)
        shares = [f"{count:,} ({100 * count / max(1, total):.1f}%)" for count in counts]
        rows.append([split, *shares, f"{total:,}"])
    return rows


def _bars(found: Audit) -> str:
    """Return the same as bars."""
    largest = max((count for counts in found.balance.values() for count in counts), default=0) or 1
    lines = []
    for split, counts in found.balance.items():
        if not sum(counts):
            continue
        lines.append(f"<h3>{split}</h3>")
        for label, count in zip(found.labels, counts, strict=True):
            bar = f'<i style="width:{60 * count / largest:.2f}%"></i>'
            lines.append(f'<div class="row"><span>{label}</span>{bar}{count:,}</div>')
    return "".join(lines)


def _twins(found: Audit) -> list[list[str]]:
    """Return how many crops of each split have an identical one elsewhere, with a header."""
    rows = [["crops of", *(f"with an identical one in {split}" for split in SPLITS), "repeated within"]]
    for split in SPLITS:
        across = [f"{found.twins[split][other]:,}" if other != split else "" for other in SPLITS]
        rows.append([split, *across, f"{found.identical_within[split]:,}"])
    return rows


def _conflicts(found: Audit) -> str:
    """Return the groups of identical crops with different labels as a list."""
    listed = "".join(f"<li>{html.escape(' | '.join(group))}</li>" for group in found.conflicts[:CONFLICTS_LISTED])
    unlisted = len(found.conflicts) - CONFLICTS_LISTED
    rest = f"<p>and {unlisted:,} more groups, in {AUDIT_NAME}</p>" if unlisted > 0 else ""
    return f"<ul>{listed or '<li>none</li>'}</ul>{rest}"


def _table(rows: list[list[str]], kind: str = "", *, header: bool = True) -> str:
    """Return rows as an HTML table, the first of them its header."""
    lines = []
    for number, row in enumerate(rows):
        tag = "th" if header and number == 0 else "td"
        lines.append("<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>")
    return f'<table class="{kind}">{"".join(lines)}</table>'
