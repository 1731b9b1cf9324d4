"""What `import mien` gives, and what it does not load."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import mien

ROOT = Path(__file__).resolve().parent.parent

#: Nobody who only recognizes waits for these or needs to have them.
HEAVY = {
    "torch", "onnx", "onnxscript", "matplotlib", "sklearn", "skimage", "scipy", "pandas", "ray", "optuna", "pyarrow",
    "typer", "rich", "fastapi", "uvicorn",
}  # fmt: skip


def test_the_public_names_are_these_and_sorted() -> None:
    assert mien.__all__ == [
        "Classifier",
        "CropSpec",
        "DataError",
        "Face",
        "ImageError",
        "InputError",
        "LabelError",
        "MienError",
        "Mixture",
        "ModelError",
        "ModelSpec",
        "OutputError",
        "Reading",
        "RecipeError",
        "Recognizer",
        "__version__",
    ]
    assert mien.__all__ == sorted(mien.__all__)
    assert all(hasattr(mien, name) for name in mien.__all__)


def test_the_version_is_that_of_the_package() -> None:
    assert mien.__version__ == version("mien")


def test_every_error_is_a_mien_error() -> None:
    errors = [getattr(mien, name) for name in mien.__all__ if name.endswith("Error")]
    assert all(issubclass(error, mien.MienError) for error in errors)


def loaded_by(code: str, folder: Path) -> set[str]:
    """Return the top-level modules that a fresh Python has loaded after running code in a folder."""
    script = f"import sys\n{code}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    environment = os.environ | {"PYTHONPATH": str(Path(mien.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, cwd=folder, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return set(done.stdout.splitlines()[-1].split())


def test_importing_mien_loads_nothing_heavy_and_writes_nothing(tmp_path: Path) -> None:
    loaded = loaded_by("import mien", tmp_path)
    assert "mien" in loaded
    assert not loaded & HEAVY
    assert list(tmp_path.iterdir()) == []


def test_a_whole_recognition_loads_nothing_heavy(tmp_path: Path, portrait: Path) -> None:
    code = f"""
from mien import Recognizer
from mien.draw import annotate
from mien.media import read_image
image = read_image({str(portrait)!r})
(reading,) = Recognizer.load().read(image)
assert reading.expression == "happy"
annotate(image, [reading])
"""
    assert not loaded_by(code, tmp_path) & HEAVY


def test_the_command_line_loads_no_torch_until_a_command_needs_it(tmp_path: Path, portrait: Path) -> None:
    code = f"""
from mien.cli.main import main
sys.argv = ["mien", "recognize", {str(portrait)!r}, "--format", "csv", "--out", "out.csv"]
try:
    with open("told", "w") as sys.stderr:
        main()
except SystemExit as left:
    assert not left.code
finally:
    sys.stderr = sys.__stderr__
"""
    assert not loaded_by(code, tmp_path) & {"torch", "onnx", "onnxscript", "matplotlib", "sklearn", "skimage"}
    assert (tmp_path / "out.csv").is_file()


def test_nothing_is_written_to_the_home_folder_by_what_mien_imports(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", "import mien"], check=True, env={**os.environ, **home})
    assert list(tmp_path.iterdir()) == []
