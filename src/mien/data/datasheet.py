"""An audit as a page for people and a file for programs, beside the data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mien.data.audit import Audit
from mien.data.manifest import SPLITS, Dataset
from mien.data.pages import bars, bullets, page, table
from mien.data.people import person_key
from mien.files import atomic_folder

__all__ = ["AUDIT_NAME", "DATASHEET_NAME", "told", "write_datasheet"]

DATASHEET_NAME = "datasheet.html"
AUDIT_NAME = "audit.json"
CONFLICTS_LISTED = 200
CONSTANT_LISTED = 20


def write_datasheet(dataset: Dataset, found: Audit, folder: str | Path) -> Path:
    """Write `datasheet.html`, a page for people, and `audit.json`, the same for programs; return the page's path."""
    fields = {name: getattr(found, name) for name in Audit.__slots__}
    manifest = dataset.manifest
    fields = {"sha256": manifest.sha256, "crops": len(manifest), "crop": manifest.crop.to_json(), **fields}
    with atomic_folder(folder) as temporary:
        (temporary / AUDIT_NAME).write_text(json.dumps(fields, indent=1), encoding="utf-8")
        (temporary / DATASHEET_NAME).write_text(_page(dataset, found), encoding="utf-8")
    return Path(folder) / DATASHEET_NAME


def told(values: Sequence[str | None], *, unknown: str) -> str:
    """Return what a column says, each value with its count, those of most rows first."""
    counts: dict[str, int] = {}
    for value in values:
        counts[value or unknown] = counts.get(value or unknown, 0) + 1
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{value} ({count:,})" for value, count in ranked[:20]) + (" ..." if len(ranked) > 20 else "")


def _page(dataset: Dataset, found: Audit) -> str:
    """Return the datasheet as one HTML page that needs nothing else."""
    return page(
        "Datasheet",
        table(_facts(dataset, found), "facts", header=False),
        "<h2>Known gaps</h2>", bullets(found.gaps, most=50, rest=AUDIT_NAME),
        "<h2>Class balance</h2>", table(_balance(found)), _bars(found),
        "<h2>People</h2>", table(_people(found)),
        "<h2>Identical crops</h2>",
        "<p>A crop of test or val that stands in train as well has been seen in training: scores on it say little.</p>",
        table(_twins(found)),
        "<h2>Identical crops with different labels</h2>",
        bullets([" | ".join(group) for group in found.conflicts], most=CONFLICTS_LISTED, rest=AUDIT_NAME),
    )  # fmt: skip


def _facts(dataset: Dataset, found: Audit) -> list[list[str]]:
    """Return what is known of the dataset as a whole: name, value."""
    manifest = dataset.manifest
    nothing: list[str | None] = [None] * len(manifest)
    people = {person_key(person) for person in manifest.person if person}
    constant = f"{len(found.constant):,}: {', '.join(found.constant[:CONSTANT_LISTED])}" if found.constant else "none"
    return [
        ["crops", f"{len(manifest):,} of {'x'.join(map(str, manifest.crop.shape))} pixels, {manifest.crop.colour}"],
        ["copies made to balance the labels", f"{found.copies:,}"],
        ["people or clips named", f"{len(people):,}"],
        ["in more than one split", ", ".join(found.people_crossing[:20]) or "none of them"],
        ["provenance", told(manifest.provenance or nothing, unknown="not stated")],
        ["consent", told(manifest.consent or nothing, unknown="not stated")],
        ["licence", told(manifest.licence, unknown="not stated by the source")],
        ["rows with votes", f"{found.voted:,}"],
        ["rows without a face", f"{found.missed:,}"],
        ["groups of identical crops", f"{found.groups:,}, of which {len(found.conflicts):,} carry different labels"],
        ["constant crops", constant],
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
    largest = max((count for counts in found.balance.values() for count in counts), default=0)
    parts = [
        f"<h3>{split}</h3>{bars(list(zip(found.labels, counts, strict=True)), largest=largest)}"
        for split, counts in found.balance.items()
        if sum(counts)
    ]
    return "".join(parts)


def _people(found: Audit) -> list[list[str]]:
    """Return how many people show each label in each split, with a header."""
    rows = [["people or clips who show it", *found.labels]]
    return rows + [[split, *(f"{count:,}" for count in counts)] for split, counts in found.people.items()]


def _twins(found: Audit) -> list[list[str]]:
    """Return how many crops of each split have an identical one elsewhere, with a header."""
    rows = [["crops of", *(f"with an identical one in {split}" for split in SPLITS), "repeated within"]]
    for split in SPLITS:
        across = [f"{found.twins[split][other]:,}" if other != split else "" for other in SPLITS]
        rows.append([split, *across, f"{found.identical_within[split]:,}"])
    return rows
