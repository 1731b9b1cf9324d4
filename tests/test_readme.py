"""What the README shows works."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer

from mien.cli.main import app
from mien.recognize import Recognizer
from mien.sinks import to_row

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_python_block_runs_and_prints_a_reading(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {})
    assert "happy" in capsys.readouterr().out


def test_the_json_line_has_the_keys_that_are_written(portrait: Path) -> None:
    shown = json.loads(blocks("json")[0])
    written = to_row("photo.jpg", 0, Recognizer.load().read(portrait)[0])
    assert list(shown) == list(written)
    assert list(shown["probabilities"]) == list(written["probabilities"])


def test_every_command_and_option_that_the_documents_show_exists() -> None:
    root = typer.main.get_command(app)
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "cards").glob("*.md")):
        shown = "".join(re.findall(r"```\n(.*?)```", document.read_text(encoding="utf-8"), flags=re.DOTALL))
        for line in re.findall(r"^(?:\.venv/bin/)?mien (.+)$", shown, flags=re.MULTILINE):
            words = line.split("#")[0].split()
            command = root
            while words and words[0] in getattr(command, "commands", {}):
                command = command.commands[words.pop(0)]  # type: ignore[attr-defined]  # it is a group
            assert command is not root, f"{document.name}: mien {line}"
            known = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in words if word.startswith("-")} <= known, f"{document.name}: mien {line}"


def test_every_relative_link_leads_to_a_file() -> None:
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "results").glob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_make_targets_that_the_readme_names_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(re.findall(r"make ([a-z]+)", README)) <= set(targets)
