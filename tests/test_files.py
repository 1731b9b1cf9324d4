"""Files are whole or not there, whatever interrupts their writing."""

from __future__ import annotations

import hashlib
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mien.errors import OutputError
from mien.files import atomic_folder, atomic_path, check_folder, make_folder, printable, sha256_of, write_text


class InterruptionError(Exception):
    """What happens in the middle of writing."""


@contextmanager
def nearly_full_disk(left: int = 4096) -> Iterator[None]:
    """Let no file grow beyond so many bytes, as on a disk that is full by then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (left, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_path(path: Path, text: str, *, interrupted: bool = False) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text)
        if interrupted:
            raise InterruptionError


def write_folder(folder: Path, *, interrupted: bool = False, **texts: str) -> None:
    with atomic_folder(folder) as temporary:
        for name, text in texts.items():
            (temporary / name).write_text(text)
        if interrupted:
            raise InterruptionError


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.suffix == ".txt"
    assert path.read_text() == "half"
    assert names(path.parent) == ["a.txt"]


def test_an_interrupted_file_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(InterruptionError):
        write_path(path, "half", interrupted=True)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_full_disk_is_an_output_error_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with nearly_full_disk(), pytest.raises(OutputError, match=r"a\.txt: cannot write there: .*; choose another place"):
        write_text(path, "x" * 5000)
    assert names(tmp_path) == []


def test_a_full_device_is_an_output_error() -> None:
    with pytest.raises(OutputError, match="/dev/full: cannot write there: No space left on device"):
        write_text("/dev/full", "x" * 100_000)


def test_a_device_is_written_to_and_not_replaced() -> None:
    write_text("/dev/null", "gone")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_new_file_has_the_rights_that_open_would_give_it(tmp_path: Path) -> None:
    write_text(tmp_path / "ours", "")
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_file_that_is_written_anew_keeps_its_rights(tmp_path: Path) -> None:
    (tmp_path / "private").write_text("old")
    (tmp_path / "private").chmod(0o600)
    write_text(tmp_path / "private", "new")
    assert (tmp_path / "private").read_text() == "new"
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("there", [True, False])
def test_what_a_link_leads_to_is_written_and_the_link_stays(tmp_path: Path, there: bool) -> None:
    target = tmp_path / "elsewhere" / "real"
    if there:
        target.parent.mkdir()
        target.write_text("old")
    (tmp_path / "link").symlink_to(target)
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert target.read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "link"]


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(OutputError, match="its links lead in a circle"):
        write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").is_symlink()


def test_a_pipe_behind_a_link_is_written_to(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    (tmp_path / "link").symlink_to(f"/dev/fd/{writer}")
    try:
        write_text(tmp_path / "link", "new")
    finally:
        os.close(writer)
    with os.fdopen(reader) as file:
        assert file.read() == "new"


def test_a_folder_is_no_place_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="it is a folder; name a file"):
        write_text(tmp_path, "")
    assert names(tmp_path) == []


def test_a_file_is_no_place_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for wanted in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match=r"file.*: cannot write there"):
            make_folder(wanted)
        with pytest.raises(OutputError, match=r"file.*: cannot write there"), atomic_folder(wanted):
            pytest.fail("there is no folder")
    with pytest.raises(OutputError, match="cannot write there"):
        write_text(tmp_path / "file" / "a.txt", "")
    assert (tmp_path / "file").read_text() == "kept"


def test_a_folder_that_can_be_made_is_told_from_one_that_cannot_without_making_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "astray").symlink_to(tmp_path / "nowhere")
    for good in (tmp_path, tmp_path / "new" / "folder"):
        check_folder(good)
    for bad in ("file", "file/below/it", "astray"):
        with pytest.raises(OutputError, match=f"{bad}: cannot write there: .* is no folder"):
            check_folder(tmp_path / bad)
    monkeypatch.chdir(tmp_path)
    check_folder("new")
    with pytest.raises(OutputError, match="file/below: cannot write there"):
        check_folder("file/below")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    with pytest.raises(OutputError, match=r"new: cannot write there: .* is read-only"):
        check_folder(tmp_path / "new")
    assert names(tmp_path) == ["astray", "file"]


def test_a_name_may_be_as_long_as_the_disk_allows_and_no_longer(tmp_path: Path) -> None:
    write_text(tmp_path / ("ä" * 125 + ".txt"), "long")
    assert names(tmp_path) == ["ä" * 125 + ".txt"]
    with pytest.raises(OutputError, match="cannot write there: File name too long"):
        write_text(tmp_path / ("x" * 300), "")
    with pytest.raises(OutputError, match="cannot write there: File name too long"):
        make_folder(tmp_path / ("x" * 300))


def test_the_files_of_a_folder_appear_when_all_are_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old a")
    (tmp_path / "other").write_text("other")
    with atomic_folder(tmp_path) as temporary:
        (temporary / "a").write_text("new a")
        (temporary / "b").write_text("new b")
        assert (tmp_path / "a").read_text() == "old a"
        assert not (tmp_path / "b").exists()
    assert {name: (tmp_path / name).read_text() for name in names(tmp_path)} == {
        "a": "new a", "b": "new b", "other": "other"
    }  # fmt: skip


def test_an_interrupted_folder_is_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old a")
    with pytest.raises(InterruptionError):
        write_folder(tmp_path, a="new a", interrupted=True)
    with nearly_full_disk(), pytest.raises(OutputError):
        write_folder(tmp_path, a="new a", b="x" * 5000)
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old a"


def test_a_folder_in_the_place_of_a_file_stops_all_files(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "a").write_text("old a")
    with pytest.raises(OutputError, match="/b: cannot write there: it is a folder"):
        write_folder(tmp_path, a="new a", b="new b")
    assert names(tmp_path) == ["a", "b"]
    assert (tmp_path / "a").read_text() == "old a"


@pytest.mark.parametrize("moves", [0, 1])
def test_old_and_new_files_are_never_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int) -> None:
    for name in "ab":
        (tmp_path / name).write_text("old")
    move, done = Path.replace, 0

    def stop(path: Path, target: Path) -> Path:
        nonlocal done
        if done == moves:
            raise InterruptionError
        done += 1
        return move(path, target)

    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(InterruptionError):
        write_folder(tmp_path, a="new", b="new")
    assert names(tmp_path) == ["a"][:moves], "the last file tells whether all are there"
    assert all((tmp_path / name).read_text() == "new" for name in names(tmp_path))


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\x00\xffmien")
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"\x00\xffmien").hexdigest()


@pytest.mark.parametrize("name", ["plain.png", "Jürgen Müller, 2.png", "顔.png", ""])
def test_a_utf8_name_is_printed_as_it_is(name: str) -> None:
    assert printable(name) == printable(Path(name)).removeprefix("." if not name else "") == name


def test_bytes_that_are_not_utf8_or_steer_a_terminal_are_printed_as_numbers() -> None:
    assert printable(os.fsdecode(b"M\xfcller.png")) == r"M\xfcller.png"
    assert printable("a\nb\x1b[2J\x00\x7f\x9b") == r"a\x0ab\x1b[2J\x00\x7f\x9b"


def test_text_that_is_no_utf_8_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a name that is no UTF-8 .*photos-\\xff"):
        write_text(tmp_path / "recipe.toml", 'first = 1\nmanifests = ["photos-\udcff"]\n')
    assert list(tmp_path.iterdir()) == []
