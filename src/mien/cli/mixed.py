"""`mien evaluate --mixed`: distributions, words and confidence beside what FER+'s taggers said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from mien.cli.console import err, out, progress_bar
from mien.data.manifest import Dataset
from mien.evaluate.cameras import as_cameras
from mien.evaluate.ensemble import Ensemble
from mien.evaluate.measure import describe
from mien.evaluate.mixture_rows import add_to_mixtures
from mien.evaluate.mixtures import Calibration, MixtureScores, score_mixtures, take_panel, votes_of
from mien.evaluate.score import predict_split

__all__ = ["measure_mixed"]


def measure_mixed(
    ensemble: Ensemble,
    dataset: Dataset,
    split: str,
    results: Path,
    *,
    data: str,
    views: str,
    change: str,
    detector: str,
) -> None:
    """Measure, add rows to a mixtures.csv, and show them.

    data: the dataset's name.  The rest is as `mien evaluate` has it.
    Raises DataError, before the work, where the dataset has no votes.
    """
    votes_of(dataset.manifest)
    rows = dataset.manifest.rows_in(split)
    with progress_bar("reading", unit="faces") as advance:
        table = predict_split(
            ensemble.predict, dataset, split, labels=ensemble.labels, crop=ensemble.crop,
            change=as_cameras if change else None, on_progress=advance,
        )  # fmt: skip
    subsets = {"all": score_mixtures(take_panel(table, dataset.manifest, rows))}
    if table.seen.any():
        unseen = take_panel(table, dataset.manifest, rows, ~table.seen)
        if unseen.votes.any():  # else there is nothing beside which to measure
            subsets["unseen"] = score_mixtures(unseen)
    described = describe(
        model=ensemble.name, model_sha256=ensemble.sha256, data=data, dataset=dataset, split=split, truth="label",
        views=views, change=change, detector=detector,
    )  # fmt: skip
    add_to_mixtures(results, [(replace(described, subset=subset), scores) for subset, scores in subsets.items()])
    err.print(f"scores added to {results}", markup=False)
    how = [part for part in (split, views.replace("own", ""), change) if part]
    # Last: a reader of stdout who has seen enough cuts nothing off.
    _show(subsets, f"{ensemble.name} on {data}, {', '.join(how)}: mixed expressions")


def _show(subsets: dict[str, MixtureScores], title: str) -> None:
    """Print the scores, a column for each set of faces."""
    shown = Table("", *subsets, title=escape(title))
    columns = [_lines(scores) for scores in subsets.values()]
    for lines in zip(*columns, strict=True):
        shown.add_row(lines[0][0], *(value for _, value in lines))
    out.print(shown)


def _lines(scores: MixtureScores) -> list[tuple[str, str]]:
    """Return what is shown of the scores, each beside what it is."""
    far, two, words, surest = scores.distances, scores.top_two, scores.words, scores.surest
    return [
        ("faces with votes", f"{scores.n:,}"),
        ("distance to the taggers (Jensen-Shannon): the model", f"{far.model:.3f}"),
        ("  as many others, drawn from the taggers' votes", f"{far.redrawn:.3f}"),
        ("  its answer in words", f"{far.words:.3f}"),
        ("  its first expression alone", f"{far.top:.3f}"),
        ("  the mean of all votes", f"{far.mean:.3f}"),
        ("faces in which two taggers or more saw a second expression", f"{two.n:,}"),
        ("  their first two named", _percent(two.model)),
        ("  named by as many others", _percent(two.redrawn)),
        ("  the stronger one first", _percent(two.model_ordered)),
        ("  by as many others", _percent(two.redrawn_ordered)),
        ("called one expression", _percent(words.single)),
        ("called a mixture of two", _percent(words.pair)),
        ("  of those that are not unsure: where the taggers split", _percent(words.pair_if_split)),
        ("  where they did not", _percent(words.pair_if_agreed)),
        ("called unsure", _percent(words.unsure)),
        ("  where the taggers split", _percent(words.unsure_if_split)),
        ("  where they did not", _percent(words.unsure_if_agreed)),
        ("faces with a majority", f"{surest.n:,}"),
        ("  right", _percent(surest.accuracy)),
        ("  without the fifth that is least sure", _gain(surest.without_fifth, surest.accuracy)),
        ("  of that fifth", _percent(surest.of_fifth)),
        ("  without those called unsure", _left(surest.without_unsure, surest.unsure)),
        ("calibration error against the taggers' votes", _error(scores.against_votes)),
        ("  against their majority", _error(scores.against_majority)),
        ("  against the labels", _error(scores.against_label)),
    ]


def _percent(share: float) -> str:
    """Return a share in percent, empty where there is none."""
    return f"{100 * share:.1f}%" if share == share else ""


def _gain(share: float, beside: float) -> str:
    """Return a share and what it is ahead of another, empty where there is none."""
    return f"{_percent(share)} ({100 * (share - beside):+.1f})" if share == share else ""


def _left(share: float, without: float) -> str:
    """Return a share of what is left without a share of all, empty where nothing is."""
    return f"{_percent(share)} (without {_percent(without)})" if share == share else ""


def _error(calibration: Calibration) -> str:
    """Return an error with the range of a perfectly calibrated model, empty where nothing was counted."""
    if not calibration.n:
        return ""
    return f"{calibration.error:.4f} (perfect: {calibration.low:.4f} to {calibration.high:.4f})"
