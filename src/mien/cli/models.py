"""`mien models`: the shipped models, checkpoints to ONNX files, and those to 8-bit ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from mien.cli.console import out

__all__ = ["app"]

app = typer.Typer(
    help="List models, describe a model file, export a checkpoint, make it 8-bit.  Example: mien models list",
    no_args_is_help=True,
)


@app.command("list")
def list_models() -> None:
    """List the models that ship with mien.

    Example: mien models list
    """
    from mien.weights.catalogue import DEFAULT, SHIPPED

    table = Table("model", "what it is", "licence", "card", "SHA-256")
    for name, shipped in SHIPPED.items():
        mark = f"{name} (default)" if name == DEFAULT else name
        table.add_row(mark, shipped.about, shipped.licence, shipped.card, shipped.sha256[:12])
    out.print(table)


@app.command()
def show(
    model: Annotated[str, typer.Argument(help="A shipped model's name, or an ONNX file.")],
    answer: Annotated[str, typer.Option(help="Which answer of a file that gives several, by name.")] = "",
) -> None:
    """Print what a model file says of itself, as JSON.

    Example: mien models show paper-cnn
    """
    from mien.classify import Classifier

    out.print_json(Classifier.load(model, answer=answer).spec.dumps())


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="A best.pt of `mien train`.")],
    out_path: Annotated[Path, typer.Option("--out", help="The ONNX file.")],
) -> None:
    """Write a checkpoint as a self-describing ONNX file; refused where its answers would differ from PyTorch's.

    Example: mien models export .runs/paper-cnn/best.pt --out paper-cnn.onnx
    """
    from mien.errors import InputError
    from mien.train.export import export as export_checkpoint

    if out_path.resolve() == checkpoint.resolve():
        raise InputError(f"{out_path}: is the checkpoint itself; name another file with --out")
    spec = export_checkpoint(checkpoint, out_path)
    out.print(f"{spec.name}: {out_path}, {out_path.stat().st_size / 2**20:.1f} MiB", markup=False)


@app.command()
def quantise(
    model: Annotated[Path, typer.Argument(help="An ONNX file of `mien train`.")],
    data: Annotated[Path, typer.Option(help="The prepared dataset that it was trained on.")],
    out_path: Annotated[Path, typer.Option("--out", help="The 8-bit ONNX file.")],
    faces: Annotated[int, typer.Option(min=1, help="Training crops that decide the range of each map.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="Of the choice of those.")] = 0,
) -> None:
    """Write a copy of a model that computes its convolutions in 8 bits, and tell how often the two agree.

    Example: mien models quantise .runs/mien/model.onnx --data data/fer2013 --out mien.onnx
    """
    import numpy as np

    from mien.classify import Classifier
    from mien.data.manifest import read
    from mien.errors import DataError, InputError
    from mien.preprocess import enhance
    from mien.train.quantise import quantise as write_quantised

    if out_path.resolve() == model.resolve():
        raise InputError(f"{out_path}: is the model itself; name another file with --out")
    dataset = read(data)
    crop = Classifier.load(model).spec.crop
    if dataset.manifest.crop.geometry != crop.geometry:
        raise DataError(f"{data}: its crops are cut otherwise than the model wants; prepare it again")
    rows = dataset.manifest.rows_in("train")
    rows = rows[~dataset.manifest.missed[rows]]
    if not len(rows):
        raise DataError(f"{data}: no usable row in split train")
    chosen = np.sort(np.random.default_rng(seed).choice(rows, min(faces, len(rows)), replace=False))
    write_quantised(model, dataset.crops[chosen], out_path)
    compared = dataset.manifest.rows_in("val")
    crops = enhance(dataset.crops[compared[~dataset.manifest.missed[compared]]], crop)
    before, after = (Classifier.load(path).predict(crops).argmax(axis=1) for path in (model, out_path))
    size = out_path.stat().st_size / 2**20
    out.print(
        f"{out_path}: {size:.1f} MiB; the same answer as {model} for {(before == after).sum():,} of {len(crops):,} "
        "crops of val",
        markup=False,
    )
