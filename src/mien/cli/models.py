"""`mien models`: the shipped models, and checkpoints to ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from mien.cli.console import out

__all__ = ["app"]

app = typer.Typer(help="List models, describe a model file, export a checkpoint.", no_args_is_help=True)


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
def show(model: Annotated[str, typer.Argument(help="A shipped model's name, or an ONNX file.")]) -> None:
    """Print what a model file says of itself, as JSON.

    Example: mien models show paper-cnn
    """
    from mien.classify import Classifier

    out.print_json(Classifier.load(model).spec.dumps())


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="A best.pt of `mien train`.")],
    out_path: Annotated[Path, typer.Option("--out", help="The ONNX file.")],
) -> None:
    """Write a checkpoint as a self-describing ONNX file; refused where its answers would differ from PyTorch's.

    Example: mien models export .runs/paper-cnn/best.pt --out paper-cnn.onnx
    """
    from mien.train.export import export as export_checkpoint

    spec = export_checkpoint(checkpoint, out_path)
    out.print(f"{spec.name}: {out_path}, {out_path.stat().st_size / 2**20:.1f} MiB", markup=False)
