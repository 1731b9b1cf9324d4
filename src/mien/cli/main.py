"""The command `mien`: its groups joined, and errors turned into one line and an exit code."""

from __future__ import annotations

import typer

from mien import __version__
from mien.cli import data, evaluate, models, recognize, train
from mien.cli.console import err, out
from mien.errors import MienError

__all__ = ["app", "main"]

#: Modules that only the extra brings.
_EXTRAS = {"torch": "train", "onnx": "train", "onnxscript": "train", "matplotlib": "train"}

app = typer.Typer(
    name="mien",
    help="Reads facial expressions: faces in pictures to expressions, and everything around the network that says so.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("recognize")(recognize.recognize)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")


@app.callback(invoke_without_command=True)
def _version(version: bool = typer.Option(False, "--version", help="Print the version and leave.")) -> None:
    if version:
        out.print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; exit code 0: done, 1: done but for some bad files, 2: not done, and one line says why."""
    try:
        app()
    except MienError as error:
        err.print(f"mien: {error}", markup=False)
        raise SystemExit(2) from None
    except ModuleNotFoundError as error:
        if error.name not in _EXTRAS:
            raise
        err.print(f"mien: this command needs {error.name}; pip install 'mien[{_EXTRAS[error.name]}]'", markup=False)
        raise SystemExit(2) from None
