"""Under what a score was measured."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mien.evaluate import measure


def test_the_commit_is_that_of_miens_own_repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def git(folder: Path, *arguments: str) -> str:
        settings = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
        told = subprocess.run(["git", *settings, *arguments], cwd=folder, check=True, capture_output=True, text=True)
        return told.stdout.strip()

    if not shutil.which("git"):
        pytest.skip("needs git")
    repository = tmp_path / "mien"
    (repository / "src").mkdir(parents=True)
    module = repository / "src" / "measure.py"
    module.write_text("")
    git(repository, "init", "--quiet")
    git(repository, "add", "src")
    git(repository, "commit", "--quiet", "-m", "first")
    installed = repository / ".venv" / "measure.py"
    installed.parent.mkdir()
    installed.write_text("")
    where: Any = measure
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(where, "__file__", str(module))
    assert measure.commit() == git(repository, "rev-parse", "--short=12", "HEAD")
    module.write_text("changed")
    assert measure.commit() == git(repository, "rev-parse", "--short=12", "HEAD") + "+"
    monkeypatch.setattr(where, "__file__", str(installed))
    assert measure.commit() == "", "a copy installed into somebody's repository has no commit of its own"
    monkeypatch.setattr(where, "__file__", str(tmp_path / "measure.py"))
    assert measure.commit() == ""
