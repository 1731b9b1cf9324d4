"""`mien data agree`: how far the annotators of a set agree, and their answers out and in."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from mien.cli.console import err, out
from mien.files import printable

if TYPE_CHECKING:
    from mien.data.annotate import LabelStore
    from mien.data.findings import Findings

__all__ = ["agree"]


def agree(
    folder: Annotated[Path, typer.Argument(help="A set of faces that has been labelled: see `mien data label`.")],
    rule: Annotated[str, typer.Option(help="What makes a label: majority, unanimity or votes.")] = "majority",
    least: Annotated[int, typer.Option(help="Answers that a face needs for a label.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Of the intervals.", min=0)] = 0,
    source: Annotated[
        Path | None,
        typer.Option(
            "--import", help="Add answers first: a CSV of answers or of FER+'s votes, or <expression>/KEY.jpg."
        ),
    ] = None,
    annotator: Annotated[
        str | None, typer.Option(help="Who gave the answers that are imported, where they do not say it themselves.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Imported answers take the place of other ones of the same annotator.")
    ] = False,
    answers_to: Annotated[
        Path | None, typer.Option("--export-answers", help="CSV with a row an answer: face, annotator, answer, second.")
    ] = None,
    votes_to: Annotated[
        Path | None, typer.Option("--export-votes", help="CSV in the layout of FER+'s fer2013new.csv.")
    ] = None,
    folders_to: Annotated[
        Path | None, typer.Option("--export-folders", help="Folder for <expression>/KEY.jpg, by the rule.")
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="Where agreement.html goes; by default beside the set.")
    ] = None,
) -> None:
    """Report how far annotators agree: Fleiss' kappa, Krippendorff's alpha, who differs, which faces are argued about.

    Example: mien data agree data/faces --rule majority --least 2

    The same goes to agreement.html (for people) and agreement.json (for programs).
    """
    from mien.data.agreement_page import write_agreement
    from mien.data.annotate import LabelStore
    from mien.data.exchange import export_answers, export_folders, export_votes
    from mien.data.faceset import FaceSet
    from mien.data.findings import find
    from mien.data.rules import RULES
    from mien.errors import InputError

    if rule not in RULES:  # before anything is imported
        raise InputError(f"unknown rule {rule!r}; expected one of {', '.join(RULES)}")
    if source is None and (annotator is not None or replace):
        raise InputError("--annotator and --replace are for --import, which is missing")
    faceset, store = FaceSet(folder), LabelStore(folder)
    keys = [face.key for face in faceset.faces()]
    if source is not None:
        _import(store, keys, source, annotator, replace=replace)
    answers = store.answers()
    findings, ruled = find(keys, answers, rule=rule, least=least, seed=seed)
    page = write_agreement(findings, faceset.view, out_dir or folder)
    if answers_to is not None:
        _told(export_answers(keys, answers, answers_to), "answers", answers_to)
    if votes_to is not None:
        _told(export_votes(keys, ruled, votes_to), "faces with votes", votes_to)
    if folders_to is not None:
        _told(export_folders(faceset, keys, ruled, folders_to), "pictures", folders_to)
    err.print(f"page: {printable(page)}", markup=False)
    _show(findings)  # last: a reader of stdout who has seen enough cuts nothing off


def _import(store: LabelStore, keys: list[str], source: Path, annotator: str | None, *, replace: bool) -> None:
    """Add the answers of a file or folder to the set and tell what became of them."""
    from mien.data.exchange import add_answers, read_answers

    done = add_answers(store, keys, read_answers(source, annotator), replace=replace)
    told = [f"{done.added:,} answers added"]
    told += [f"{done.same:,} there already"] if done.same else []
    told += [f"{done.replaced:,} replaced"] if done.replaced else []
    told += [f"{done.unknown:,} of faces that are not in the set, not imported"] if done.unknown else []
    err.print(f"{printable(source)}: {', '.join(told)}", markup=False)


def _told(count: int, of_what: str, path: Path) -> None:
    """Tell what was exported."""
    err.print(f"{count:,} {of_what}: {printable(path)}", markup=False)


def _show(findings: Findings) -> None:
    """Print the findings."""
    from mien.data.agreement_page import in_words
    from mien.data.rules import HALVES_NOTE

    out.print(
        f"{findings.answers:,} answers of {len(findings.annotators):,} annotators; {findings.faces_with_two:,} of"
        f" {findings.faces:,} faces have two or more; {findings.skipped:,} times cannot tell", soft_wrap=True
    )  # fmt: skip
    if findings.removed:
        out.print(f"answers for faces that are no longer in the set, kept and not counted: {findings.removed:,}")
    if findings.undefined:
        out.print(f"kappa and alpha are not defined: {findings.undefined}", soft_wrap=True)
    else:
        out.print(f"Fleiss' kappa: {in_words(findings.fleiss_kappa, findings.no_interval)}")
        out.print(f"Krippendorff's alpha: {in_words(findings.krippendorff_alpha, findings.no_interval)}")
    people = Table(
        "annotator", "answers", "cannot tell", "compared", "the same", title="with the majority of the others"
    )
    for one in findings.annotators:
        share = f"{one.same / one.compared:.1%} ({one.low:.1%} to {one.high:.1%})" if one.compared else ""
        people.add_row(escape(one.name), f"{one.answers:,}", f"{one.skipped:,}", f"{one.compared:,}", share)
    out.print(people)
    if findings.pairs:
        pairs = Table("first", "second", "faces", "the same", "Cohen's kappa", title="each two annotators")
        for pair in findings.pairs:
            kappa = "" if math.isnan(pair.kappa) else f"{pair.kappa:.3f}"
            share = f"{pair.same / pair.faces:.1%}" if pair.faces else ""
            pairs.add_row(escape(pair.first), escape(pair.second), f"{pair.faces:,}", share, kappa)
        out.print(pairs)
    labels = Table("label", "faces", title=f"labels by {findings.rule}")
    for name, count in findings.labels.items():
        labels.add_row(name, f"{count:,}")
    for why, count in findings.without.items():
        labels.add_row(f"none: {why}", f"{count:,}")
    out.print(labels)
    if findings.halves:
        out.print(HALVES_NOTE, soft_wrap=True)
    if findings.argued:
        argued = Table("face", "votes", title="most argued about")
        for face in findings.argued[:10]:
            argued.add_row(escape(face.face), ", ".join(f"{name} {count}" for name, count in face.votes.items()))
        out.print(argued)
