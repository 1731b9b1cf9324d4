"""What a dataset holds and what is wrong with it: class balance, identical crops, label conflicts, constant crops."""

from __future__ import annotations

import hashlib
import html
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.data.manifest import SPLITS, Dataset
from mien.files import atomic_folder
from mien.labels import FERPLUS
from mien.types import BoolArray, ImageArray, IntArray

__all__ = ["Audit", "audit", "group_identical", "has_twin", "write_datasheet"]

DATASHEET_NAME = "datasheet.html"
AUDIT_NAME = "audit.json"
CONFLICTS_LISTED = 200


@dataclass(frozen=True, slots=True, eq=False)
class Audit:
    """The findings of an audit."""

    labels: tuple[str, ...]  # those that occur, in the order of labels.FERPLUS
    balance: dict[str, list[int]]  # split -> crops of each label
    twins: dict[str, dict[str, int]]  # split -> other split -> crops that have an identical one there
    identical_within: dict[str, int]  # split -> crops that repeat an earlier one of the same split
    groups: int  # of identical crops
    conflicts: list[list[str]]  # each a group of identical crops with different labels: "source: label"
    constant: list[str]  # sources of crops of a single colour
    missed: int  # rows in which no face was found
    voted: int  # rows with votes


def group_identical(crops: ImageArray, rows: IntArray) -> IntArray:
    """Return (len(rows),) for each row the first of these rows whose crop has the same pixels."""
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(_fingerprint(crops[row]), row) for row in rows.tolist()], np.int64)


def has_twin(dataset: Dataset, rows: IntArray, among: str) -> BoolArray:
    """Return (len(rows),) whether each row's crop has an identical one in the split `among`."""
    manifest = dataset.manifest
    others = manifest.rows_in(among)
    known = {_fingerprint(dataset.crops[row]) for row in others[~manifest.missed[others]]}
    return np.array([_fingerprint(dataset.crops[row]) in known for row in rows], np.bool_)


def audit(dataset: Dataset) -> Audit:
    """Return what a dataset holds and what is wrong with it.  Rows without a face are counted and otherwise ignored."""
    manifest = dataset.manifest
    usable = np.flatnonzero(~manifest.missed)
    group = group_identical(dataset.crops, usable)
    split = manifest.split[usable]
    members: dict[int, list[int]] = {}
    for row, first in zip(usable.tolist(), group.tolist(), strict=True):
        members.setdefault(first, []).append(row)
    repeated = [rows for rows in members.values() if len(rows) > 1]
    present = [label for label in range(len(FERPLUS)) if (manifest.label == label).any()]
    groups_of = [set(group[split == index].tolist()) for index in range(len(SPLITS))]
    in_split = [int((split == index).sum()) for index in range(len(SPLITS))]
    return Audit(
        labels=tuple(FERPLUS[label] for label in present),
        balance={
            name: [int(((manifest.split == index) & (manifest.label == label)).sum()) for label in present]
            for index, name in enumerate(SPLITS)
        },
        twins={
            name: {
                other: int(np.isin(group[split == index], list(groups_of[number])).sum())
                for number, other in enumerate(SPLITS)
                if other != name
            }
            for index, name in enumerate(SPLITS)
        },
        identical_within={name: in_split[index] - len(groups_of[index]) for index, name in enumerate(SPLITS)},
        groups=len(repeated),
        conflicts=[
            [f"{manifest.source[row]}: {FERPLUS[manifest.label[row]]}" for row in rows]
            for rows in repeated
            if len({int(manifest.label[row]) for row in rows}) > 1
        ],
        constant=[manifest.source[row] for row in usable if _is_constant(dataset.crops[row])],
        missed=int(manifest.missed.sum()),
        voted=0 if manifest.votes is None else int((manifest.votes.sum(axis=1) > 0).sum()),
    )


def _fingerprint(crop: ImageArray) -> bytes:
    """Return 16 bytes that stand for the pixels, so that those of a large dataset need not be held in memory."""
    return hashlib.blake2b(crop.tobytes(), digest_size=16).digest()


def _is_constant(crop: ImageArray) -> bool:
    """Return whether all pixels are alike."""
    return bool((crop == crop[:1, :1]).all())


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
    manifest = dataset.manifest
    licences = sorted({licence for licence in manifest.licence if licence}) or ["not stated by the source"]
    people = {person for person in manifest.person if person}
    totals = {split: sum(counts) for split, counts in found.balance.items()}
    balance = [["", *found.labels, "all"]]
    for split, counts in found.balance.items():
        shares = [f"{count:,} ({100 * count / max(1, totals[split]):.1f}%)" for count in counts]
        balance.append([split, *shares, f"{totals[split]:,}"])
    twins = [["crops of", *(f"with an identical one in {split}" for split in SPLITS), "repeated within"]]
    for split in SPLITS:
        across = [f"{found.twins[split][other]:,}" if other != split else "" for other in SPLITS]
        twins.append([split, *across, f"{found.identical_within[split]:,}"])
    largest = max((count for counts in found.balance.values() for count in counts), default=0) or 1
    bars = "".join(
        f"<h3>{split}</h3>"
        + "".join(
            f'<div class="row"><span>{label}</span><i style="width:{60 * count / largest:.2f}%"></i>{count:,}</div>'
            for label, count in zip(found.labels, counts, strict=True)
        )
        for split, counts in found.balance.items()
        if totals[split]
    )
    conflicts = "".join(f"<li>{html.escape(' | '.join(group))}</li>" for group in found.conflicts[:CONFLICTS_LISTED])
    unlisted = max(0, len(found.conflicts) - CONFLICTS_LISTED)
    facts = [
        ["crops", f"{len(manifest):,} of {'x'.join(map(str, manifest.crop.shape))} pixels, {manifest.crop.colour}"],
        ["people or clips named", f"{len(people):,}"],
        ["rows with votes", f"{found.voted:,}"],
        ["rows without a face", f"{found.missed:,}"],
        ["groups of identical crops", f"{found.groups:,}, of which {len(found.conflicts):,} carry different labels"],
        ["constant crops", f"{len(found.constant):,}: {', '.join(found.constant[:20])}" if found.constant else "none"],
        ["licence", ", ".join(licences)],
        ["decided in preparing", "; ".join(manifest.notes) or "nothing"],
        ["SHA-256", manifest.sha256],
    ]
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Datasheet</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; margin: 1rem 0; }} td, th {{ border: 1px solid #8886; padding: .3rem .6rem; }}
td:not(:first-child) {{ text-align: right; }} .facts td {{ text-align: left; overflow-wrap: anywhere; }}
.row {{ display: flex; gap: .5rem; align-items: center; }} .row span {{ width: 6rem; }}
.row i {{ background: #0072B2; height: 1rem; }} :root {{ color-scheme: light dark; }}
</style>
<h1>Datasheet</h1>
{_table(facts, "facts", header=False)}
<h2>Class balance</h2>
{_table(balance)}{bars}
<h2>Identical crops</h2>
<p>A crop of test or val that stands in train as well has been seen in training: scores on it say little.</p>
{_table(twins)}
<h2>Identical crops with different labels</h2>
<ul>{conflicts or "<li>none</li>"}</ul>{f"<p>and {unlisted:,} more groups, in {AUDIT_NAME}</p>" if unlisted else ""}
"""


def _table(rows: list[list[str]], kind: str = "", *, header: bool = True) -> str:
    """Return rows as an HTML table, the first of them its header."""
    lines = []
    for number, row in enumerate(rows):
        tag = "th" if header and number == 0 else "td"
        lines.append("<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>")
    return f'<table class="{kind}">{"".join(lines)}</table>'
