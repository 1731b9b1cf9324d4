"""What annotators agree on as a page for people and a file for programs, beside the set."""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Callable
from pathlib import Path

from mien.data.findings import AnnotatorFindings, Argued, Findings, Measured
from mien.data.rules import HALVES_NOTE
from mien.files import atomic_folder

__all__ = ["JSON_NAME", "PAGE_NAME", "in_words", "write_agreement"]

PAGE_NAME = "agreement.html"
JSON_NAME = "agreement.json"
OPEN_AT_MOST = 4  # confusions that are shown without a click
VIEW_BYTES_AT_MOST = 1 << 20  # of a picture that the page takes in

_STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; } .scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .7rem 0; } td, th { border: 1px solid var(--line); padding: .25rem .6rem; }
th { font-weight: 600; background: var(--soft); text-align: left; } td { text-align: right; }
.matrix th, .matrix td { font-size: .8rem; padding: .15rem .35rem; }
.matrix td { background: color-mix(in srgb, #0072B2 calc(var(--share) * 70%), transparent); }
.matrix td.off { background: color-mix(in srgb, #D55E00 calc(var(--share) * 70%), transparent); }
.grids { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 34rem), 1fr)); gap: 0 1.5rem; }
details { overflow-x: auto; } summary { cursor: pointer; font-weight: 600; margin-top: .8rem; }
.bars td { border: 0; } .bars th { border: 0; background: none; font-weight: 400; }
.bars i { display: block; height: 1rem; background: #0072B2; } .bars td:last-child { width: 24rem; }
.faces { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 1rem; padding: 0; }
.faces li { list-style: none; border: 1px solid var(--line); border-radius: .4rem; overflow: hidden; }
.faces img, .faces .gone { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: var(--soft); }
.faces .gone { display: grid; place-items: center; opacity: .7; }
.faces p { margin: .4rem .6rem; font-size: .9rem; } .faces code { font-size: .72rem; overflow-wrap: anywhere; }
.note { opacity: .8; max-width: 60rem; }
"""


def write_agreement(findings: Findings, view: Callable[[str], Path], folder: str | Path) -> Path:
    """Write `agreement.html`, a page for people, and `agreement.json`, the same for programs; return the page's path.

    view: where the picture of a face lies, by its key; a missing one is left blank.
    """
    with atomic_folder(folder) as temporary:
        text = json.dumps(findings.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
        (temporary / JSON_NAME).write_text(text, encoding="utf-8")
        (temporary / PAGE_NAME).write_text(_page(findings, view), encoding="utf-8")
    return Path(folder) / PAGE_NAME


def in_words(measured: Measured, no_interval: str) -> str:
    """Return a number with its interval, or why it has none; "not defined" where it is none."""
    if math.isnan(measured.value):
        return "not defined"
    return f"{measured.value:.3f} ({no_interval or f'{measured.low:.3f} to {measured.high:.3f}'})"


def _page(findings: Findings, view: Callable[[str], Path]) -> str:
    """Return the page, which needs nothing else."""
    noted = f"<p class=note>{html.escape(findings.undefined.capitalize())}.</p>" if findings.undefined else ""
    faces = "".join(_argued(face, view(face.face)) for face in findings.argued)
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Agreement of annotators</title>
<style>{_STYLE}</style>
<h1>Agreement of annotators</h1>
{_table(_facts(findings))}{noted}
<p class="note">Fleiss' kappa and Krippendorff's alpha are 1 where everybody agrees and 0 where people agree as often as
by chance; in brackets 95% intervals over faces.  Of two mixed expressions the stronger one counts; "cannot tell" is no
answer.</p>
<h2>Labels by {html.escape(findings.rule)}</h2>
{_labels(findings)}
<h2>Each annotator and the others</h2>
<p class="note">The majority of the others: what most of the other annotators say of a face, without the annotator's
own answer.  Faces on which the others tie are left out.</p>
{_annotators(findings)}{_confusions(findings)}
<h2>Each two annotators</h2>
{_pairs(findings)}
<h2>Most argued about</h2>
{f'<ul class="faces">{faces}</ul>' if faces else "<p>No face on which two answers differ.</p>"}
"""


def _facts(findings: Findings) -> list[list[str]]:
    """Return what is known of the answers as a whole: name, value."""
    facts = [
        ["Fleiss' kappa", in_words(findings.fleiss_kappa, findings.no_interval)],
        ["Krippendorff's alpha", in_words(findings.krippendorff_alpha, findings.no_interval)],
        ["annotators", f"{len(findings.annotators):,}"],
        ["faces", f"{findings.faces:,}"],
        ["faces with two answers or more", f"{findings.faces_with_two:,}"],
        ["answers", f"{findings.answers:,}"],
        ["answered with \N{LEFT DOUBLE QUOTATION MARK}cannot tell\N{RIGHT DOUBLE QUOTATION MARK}",
         f"{findings.skipped:,}"],
    ]  # fmt: skip
    if findings.removed:
        facts.append(["answers for faces that are no longer in the set, not counted", f"{findings.removed:,}"])
    return facts


def _labels(findings: Findings) -> str:
    """Return the faces of each label, and those without one, as bars."""
    largest = max(*findings.labels.values(), *findings.without.values(), 1)
    lines = []
    for counted, opacity in ((findings.labels, 1.0), (findings.without, 0.4)):
        for name, count in counted.items():
            bar = f'<i style="width:{100 * count / largest:.2f}%;opacity:{opacity}"></i>'
            shown = name if counted is findings.labels else f"no label: {name}"
            lines.append(f"<tr><th>{html.escape(shown)}</th><td>{count:,}</td><td>{bar}</td></tr>")
    least = f"<p class=note>Faces with at least {findings.least} answers.</p>" if findings.least > 1 else ""
    halves = f"<p class=note>{html.escape(HALVES_NOTE.capitalize())}.</p>" if findings.halves else ""
    return f'<div class="scroll"><table class="bars">{"".join(lines)}</table></div>{least}{halves}'


def _annotators(findings: Findings) -> str:
    """Return how often each annotator says what the others say."""
    rows = [["annotator", "answers", "cannot tell", "compared with the others", "the same", "95% interval"]]
    for one in findings.annotators:
        share = [f"{one.same / one.compared:.1%}", f"{one.low:.1%} to {one.high:.1%}"] if one.compared else ["", ""]
        rows.append([one.name, f"{one.answers:,}", f"{one.skipped:,}", f"{one.compared:,}", *share])
    return _table(rows, header=True)


def _confusions(findings: Findings) -> str:
    """Return each annotator's confusion with the others, folded up where there are many."""
    opened = " open" if len(findings.annotators) <= OPEN_AT_MOST else ""
    grids = "".join(
        f"<details{opened}><summary>{html.escape(one.name)}</summary>{_confusion(one, findings.categories)}</details>"
        for one in findings.annotators
        if one.compared
    )
    legend = '<p class="note">Rows: what most others say.  Columns: what the annotator says.</p>' if grids else ""
    return f'{legend}<div class="grids">{grids}</div>'


def _confusion(one: AnnotatorFindings, categories: tuple[str, ...]) -> str:
    """Return a confusion as a table, each cell tinted by its share of the row."""
    lines = ["<tr><th></th>" + "".join(f"<th>{name}</th>" for name in categories) + "</tr>"]
    for row, counts in enumerate(one.confusion):
        total = max(1, sum(counts))
        cells = "".join(
            f'<td{"" if row == column else " class=off"} style="--share:{count / total:.3f}">{count or ""}</td>'
            for column, count in enumerate(counts)
        )
        lines.append(f"<tr><th>{categories[row]}</th>{cells}</tr>")
    return f'<table class="matrix">{"".join(lines)}</table>'


def _pairs(findings: Findings) -> str:
    """Return how far each two annotators agree."""
    rows = [["first", "second", "faces that both answered", "the same", "Cohen's kappa"]]
    for pair in findings.pairs:
        share = f"{pair.same / pair.faces:.1%}" if pair.faces else ""
        kappa = "not defined" if math.isnan(pair.kappa) else f"{pair.kappa:.3f}"
        rows.append([pair.first, pair.second, f"{pair.faces:,}", share, kappa])
    return _table(rows, header=True) if len(rows) > 1 else "<p>There is one annotator at most.</p>"


def _argued(face: Argued, view: Path) -> str:
    """Return a face with its picture and its votes."""
    votes = ", ".join(f"{name} {count}" for name, count in face.votes.items())
    return f"<li>{_picture(view)}<p>{html.escape(votes)}<br><code>{html.escape(face.face)}</code></p></li>"


def _picture(path: Path) -> str:
    """Return a picture inlined, or that it is missing."""
    try:
        content = path.read_bytes()
    except OSError:
        content = b""
    if not 0 < len(content) <= VIEW_BYTES_AT_MOST:
        return '<span class="gone">no picture</span>'
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(content).decode()}">'


def _table(rows: list[list[str]], *, header: bool = False) -> str:
    """Return rows as an HTML table, the first cell of each a header, and with `header` the first row."""
    lines = []
    for number, row in enumerate(rows):
        tags = ["th" if column == 0 or (header and number == 0) else "td" for column in range(len(row))]
        cells = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for tag, cell in zip(tags, row, strict=True))
        lines.append(f"<tr>{cells}</tr>")
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>'
