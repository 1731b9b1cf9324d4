"""The wheel is all that recognition needs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_wheel_alone_recognizes_a_picture_from_another_folder(tmp_path: Path, portrait: Path) -> None:
    source = tmp_path / "source"  # a copy: a build folder from earlier would add what is no longer in the source
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist")]
    subprocess.run([*build, str(source)], check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert {"mien/weights/mien.onnx", "mien/weights/paper-cnn.onnx"} <= set(zipfile.ZipFile(wheel).namelist())
    venv.create(tmp_path / "env", with_pip=True)
    scripts = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    install = [str(scripts / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "--constraint", str(ROOT / "constraints.txt"), str(wheel)], check=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    recognize = [str(scripts / "mien"), "recognize", str(portrait), "--format", "jsonl"]
    told = subprocess.run(
        recognize, check=True, capture_output=True, text=True, encoding="utf-8", cwd=elsewhere, env=environment
    )
    assert json.loads(told.stdout.splitlines()[0])["expression"] == "happy"
    listed = subprocess.run(
        [str(scripts / "python"), "-m", "pip", "list", "--format", "json"], check=True, capture_output=True, text=True
    )
    assert not {"torch", "matplotlib", "onnx"} & {package["name"] for package in json.loads(listed.stdout)}
