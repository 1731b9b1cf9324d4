"""The command `mien`: its groups joined, and errors turned into one line and an exit code."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import typer
from rich.text import Text

from mien import __version__
from mien.cli import data, evaluate, explain, models, paper, recognize, search, serve, train
from mien.cli.console import err, out
from mien.errors import MienError

__all__ = ["app", "main"]

#: Modules that only an extra brings.
_EXTRAS = dict.fromkeys(
    ("torch", "onnx", "onnxscript", "matplotlib", "optuna", "jinja2", "skimage", "sklearn"),
    "train",
) | dict.fromkeys(
    ("fastapi", "prometheus_client", "pydantic", "python_multipart", "starlette", "uvicorn", "websockets"), "serve"
)

app = typer.Typer(
    name="mien",
    help="Reads facial expressions: faces in pictures to expressions, and everything around the network that says so."
    "\n\nExample: mien recognize photo.jpg",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("recognize")(recognize.recognize)
app.command("train")(train.train)
app.command("search")(search.search)
app.command("evaluate")(evaluate.evaluate)
app.command("explain")(explain.explain)
app.command("paper")(paper.paper)
app.command("serve")(serve.serve)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")


@app.callback(invoke_without_command=True)
def _version(version: bool = typer.Option(False, "--version", help="Print the version and leave.")) -> None:
    if version:
        out.print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; exit code 0: done, 1: done but for some bad files, 2: not done, and one line says why."""
    if sys.stdout is None:  # closed by whoever called
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - it stays open as long as the program
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may hold what the terminal cannot show
    try:
        try:
            app(prog_name="mien")  # whatever the name of the file that was started
        finally:
            sys.stdout.flush()  # where the disk is full or the reader has gone, it shows here at the latest
    except MienError as error:
        _leave(str(error))
    except ModuleNotFoundError as error:
        needed = (error.name or "").partition(".")[0]
        if needed not in _EXTRAS:
            raise
        _leave(f"this command needs {needed}; install mien with its extra [{_EXTRAS[needed]}], as the README shows")
    except BrokenPipeError:  # as in `mien ... | head`: no error, but nobody is there to be told
        _drop_stdout()
        raise SystemExit(1) from None
    except OSError as error:
        _drop_stdout()
        _leave(f"{error.filename or 'the output'}: {error.strerror or error}")


def _leave(why: str) -> NoReturn:
    """Tell why nothing could be done and leave with exit code 2."""
    err.print(Text(f"mien: {why}"))
    raise SystemExit(2) from None


def _drop_stdout() -> None:
    """Let what is still buffered for stdout go nowhere, or Python would complain once more at its end."""
    with suppress(OSError), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
