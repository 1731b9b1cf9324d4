"""`mien paper`: every table and figure of the paper, from own measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.console import err, out, progress_bar

__all__ = ["paper"]


def paper(
    data: Annotated[Path, typer.Option(help="A prepared dataset with train, val and test.")],
    out_dir: Annotated[Path, typer.Option("--out", help="The folder that the page goes to.")],
    natural: Annotated[
        Path | None, typer.Option(help="Natural pictures, faces/ beside labels.csv, for Table III.")
    ] = None,
    pictures: Annotated[Path, typer.Option(help="A folder of pictures whose faces are shown.")] = Path("examples"),
    quick: Annotated[bool, typer.Option("--quick", help="Train on a small sample: a first look in minutes.")] = False,
    train: Annotated[
        bool, typer.Option("--train/--no-train", help="Train what is missing, or show it as a gap.")
    ] = True,
    studies: Annotated[Path | None, typer.Option(help="What is trained, in place of mien's own studies.toml.")] = None,
    results: Annotated[
        Path | None, typer.Option(help="Where measurements are kept; left out: results, of --quick OUT/results.")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Where training goes on; left out: .runs/paper, of --quick .runs/paper-quick.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Write one page that holds the paper's tables and figures against what is measured here.

    Example: mien paper --data data/fer2013 --natural natural --out docs/paper

    The folder gets index.html, which holds all it shows, and each figure as figures/NAME.svg and .png.  What was
    measured before stands in the results and is not computed again.  What is missing is trained first, for many hours
    on a processor; stopped with Ctrl-C, the page is written with gaps, and the same command goes on (exit code 130).
    --quick trains on a small sample, and its page is marked so.  Exit code 1: some of it could not be read or trained,
    the rest is done.
    """
    from mien.files import check_folder
    from mien.media import find_images
    from mien.paper.build import Listener, open_context, train_missing, write_paper

    check_folder(out_dir)
    kept = results or (out_dir / "results" if quick else Path("results"))
    check_folder(kept)
    shown = sorted(find_images(pictures)) if pictures.is_dir() else []
    work = runs or Path(".runs/paper-quick" if quick else ".runs/paper")
    context = open_context(
        data, natural, shown, results=kept, studies=studies, sample=work / "sample" if quick else None
    )
    told: set[str] = set()

    def tell(name: str, why: str) -> None:
        told.add(name)
        err.print(why, markup=False)

    for name, why in context.failed.items():
        tell(name, why)
    stopped = False
    with progress_bar("paper", unit="steps") as advance:
        listener = Listener(
            on_progress=lambda text, done, total: advance(done, total, text),
            on_failure=lambda name, why: tell(name, f"{name}: not trained: {why}"),
        )
        if train:
            try:
                train_missing(context, work, device=device, listener=listener)
            except KeyboardInterrupt:
                stopped = True
                err.print("stopped; the same command goes on with what is missing", markup=False)
        gaps = write_paper(context, out_dir, listener=listener)
    for name, why in context.failed.items():
        if name not in told:
            tell(name, why)
    if not pictures.is_dir():
        err.print(f"{pictures}: no such folder: no faces are shown; --pictures names another", markup=False)
    missing = f", {gaps} gaps" if gaps > 1 else ", 1 gap" if gaps else ""
    out.print(f"{out_dir / 'index.html'}{missing}", markup=False)
    if stopped:
        raise typer.Exit(130)
    if context.failed:
        raise typer.Exit(1)
