"""Sets of faces: found, kept or dropped with a reason, copies once; what was read is not read again."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.Image import Transpose

from mien.data import build as building
from mien.data.build import BuildSettings, Built, build, parse_thresholds
from mien.data.contact_sheet import draw_contact_sheet
from mien.data.faceset import DUPLICATE, FaceSet, FoundFace, at_work
from mien.data.forget import files_of, forget
from mien.data.gathering import gather_files
from mien.data.prepare import prepare
from mien.data.set_datasheet import write_set_datasheet
from mien.errors import DataError, ImageError, InputError, OutputError
from mien.faces.crop import cut
from mien.faces.detect import DlibDetector
from mien.media import read_image
from mien.spec import CropSpec


@pytest.fixture
def photos(tmp_path: Path, portrait: Path) -> Path:
    """Return a folder: a portrait, a copy saved anew, no picture at all, a wall."""
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(portrait, folder / "a.jpg")
    with Image.open(portrait) as image:
        image.resize((image.width * 3 // 4, image.height * 3 // 4)).save(folder / "b, grüße.jpg", quality=70)
    (folder / "c.jpg").write_bytes(b"no picture")
    Image.new("RGB", (200, 200), "grey").save(folder / "d.png")
    return folder


def built(photos: Path, out: Path, **changes: Any) -> Built:
    """Return a build of a folder in this process."""
    files, _ = gather_files([photos])
    return build(files, out, settings=BuildSettings(**changes), jobs=1)


def test_faces_are_found_cut_and_counted(photos: Path, tmp_path: Path) -> None:
    result = built(photos, tmp_path / "set")
    assert (result.files, result.new, result.pictures, result.faces, result.kept) == (4, 4, 3, 2, 1)
    assert result.dropped == {DUPLICATE: 1}
    assert [name for name, _ in result.unreadable] == ["photos/c.jpg"]
    faceset = FaceSet(tmp_path / "set")
    (kept,), (dropped,) = faceset.faces(), faceset.faces(kept=False)
    assert (kept.name, dropped.name) == ("photos/a.jpg", "photos/b, grüße.jpg")
    image = read_image(photos / "a.jpg")
    face = DlibDetector(min_face_px=48)(image)[0]
    assert np.array_equal(faceset.crops([kept.key])[0], cut(image, face, CropSpec()))
    assert read_image(faceset.view(kept.key)).shape == (256, 256, 3)


def test_files_too_large_for_the_smallest_face_are_counted(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DlibDetector, "LARGEST_PIXELS", 200 * 200)  # d.png is as large, the portraits are larger
    result = built(photos, tmp_path / "set")
    assert len(result.unlooked_px) == 3, "of the four one is no picture"
    assert min(result.unlooked_px) == pytest.approx(80), "faces of 80 pixels are those that the detector knows"
    assert built(photos, tmp_path / "set").unlooked_px == (), "nothing was read"
    files, _ = gather_files([photos / "d.png"])
    assert build(files, tmp_path / "wide", settings=BuildSettings(min_face_px=80), jobs=1).unlooked_px == ()


def test_what_was_read_is_not_read_again(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built(photos, tmp_path / "set")
    before = [face.key for face in FaceSet(tmp_path / "set").faces()]
    monkeypatch.setattr(building, "read_image", lambda path: pytest.fail(f"{path} is read again"))
    again = built(photos, tmp_path / "set")
    assert (again.new, again.files, again.kept) == (0, 4, 1)
    assert [face.key for face in FaceSet(tmp_path / "set").faces()] == before


def test_a_file_that_has_changed_is_read_again_and_a_new_one_too(photos: Path, tmp_path: Path) -> None:
    built(photos, tmp_path / "set")
    Image.new("RGB", (300, 300), "white").save(photos / "a.jpg")
    Image.new("RGB", (300, 300), "white").save(photos / "e.jpg")
    again = built(photos, tmp_path / "set")
    assert (again.new, again.kept, again.dropped) == (2, 1, {}), "the copy is now the only one"


def test_killed_between_two_files_the_same_call_goes_on(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = built(photos, tmp_path / "whole")
    real = FaceSet.add
    added: list[str] = []

    def add(self: FaceSet, file: Any, found: Any) -> None:
        if len(added) == 2:
            raise KeyboardInterrupt
        added.append("")
        real(self, file, found)

    monkeypatch.setattr(FaceSet, "add", add)
    with pytest.raises(KeyboardInterrupt):
        built(photos, tmp_path / "set")
    monkeypatch.setattr(FaceSet, "add", real)
    again = built(photos, tmp_path / "set")
    assert again.new == 2
    assert (again.kept, again.dropped, again.faces) == (whole.kept, whole.dropped, whole.faces)
    keys = [[face.key for face in FaceSet(tmp_path / name).faces()] for name in ("set", "whole")]
    assert keys[0] == keys[1], "labels find their faces in a set that was built anew"


def test_several_processes_find_what_one_finds(photos: Path, tmp_path: Path) -> None:
    built(photos, tmp_path / "one")
    files, _ = gather_files([photos])
    build(files, tmp_path / "two", settings=BuildSettings(), jobs=2)
    first, second = (
        [(face.key, face.reason) for kept in (True, False) for face in FaceSet(tmp_path / name).faces(kept=kept)]
        for name in ("one", "two")
    )
    assert first == second


def test_a_threshold_drops_and_is_named(photos: Path, tmp_path: Path) -> None:
    result = built(photos, tmp_path / "set", thresholds=parse_thresholds(["size_px=5000"]))
    assert result.kept == 0
    assert result.dropped["size_px"] == 2
    assert all("size_px" in face.reason for face in FaceSet(tmp_path / "set").faces(kept=False))


def test_off_switches_a_threshold_off() -> None:
    assert dict(parse_thresholds(["size_px=off"]))["size_px"] == -np.inf
    for bad in ("size_px", "size_px=large", "beauty=1"):
        with pytest.raises(InputError, match="threshold"):
            parse_thresholds([bad])


def test_other_settings_are_refused_for_a_set_that_is_there(photos: Path, tmp_path: Path) -> None:
    built(photos, tmp_path / "set")
    with pytest.raises(DataError, match=r"built with other settings \(min_face_px 48, now 90\)"):
        built(photos, tmp_path / "set", min_face_px=90.0)


def test_a_full_disk_is_told_and_what_was_written_stays(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sqlite3.connect

    def connect(path: Any, **how: Any) -> sqlite3.Connection:
        database: sqlite3.Connection = real(path, **how)
        database.execute("pragma max_page_count = 1")  # of which it makes as many as there are already
        return database

    files, _ = gather_files([photos / "d.png"])
    build(files, tmp_path / "set", settings=BuildSettings(), jobs=1)
    monkeypatch.setattr(sqlite3, "connect", connect)
    with pytest.raises(OutputError, match="full"):
        built(photos, tmp_path / "set")
    monkeypatch.setattr(sqlite3, "connect", real)
    assert "photos/d.png" in [file.name for file in FaceSet(tmp_path / "set").files()]
    assert built(photos, tmp_path / "set").kept == 1


def test_of_a_video_a_face_is_taken_so_often_or_when_it_changes(tmp_path: Path, portrait: Path) -> None:
    import av

    first = read_image(portrait)[0:400, 50:400].copy()
    clip = tmp_path / "clip.mp4"
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 350, 400, "yuv420p", 4_000_000
        for number in range(
            15
        ):  # three seconds: nothing moves, then the face is upside down for a second, then as before
            picture = first[::-1].copy() if 5 <= number < 10 else first
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    files, _ = gather_files([clip])
    every = build(files, tmp_path / "every", settings=BuildSettings(every_s=0.4), jobs=1)
    change = build(files, tmp_path / "change", settings=BuildSettings(on_change=True), jobs=1)
    times = [face.time_s for kept in (True, False) for face in FaceSet(tmp_path / "every").faces(kept=kept)]
    assert sorted(times) == pytest.approx([0, 0.4, 0.8, 2.0, 2.4, 2.8])  # type: ignore[type-var]  # of a video all have one
    assert every.kept == 1, "the others are copies of the first"
    assert (change.pictures, change.faces) == (15, 1)


def test_the_contact_sheet_and_the_datasheet_show_kept_and_dropped(photos: Path, tmp_path: Path) -> None:
    table = photos / "who.csv"
    table.write_text('file,person,consent,source,licence\na.jpg,"Eileen <Collins>",given,NASA,public domain\n')
    files, _ = gather_files([photos, table])
    build(files, tmp_path / "set", settings=BuildSettings(), jobs=1)
    faceset = FaceSet(tmp_path / "set")
    sheet = read_image(draw_contact_sheet(faceset))
    assert sheet.shape[1] > 1000
    page = write_set_datasheet(faceset).read_text()
    for told in (
        "NASA (1)",
        "given (1)",
        "public domain (1)",
        "photos/c.jpg: ",
        "a copy of another",
        "1 of 1 faces are not",
    ):
        assert told in page, told
    assert "<Collins>" not in page


def test_what_a_list_says_later_is_taken_over_without_reading_again(photos: Path, tmp_path: Path) -> None:
    built(photos, tmp_path / "set")
    (photos / "who.csv").write_text("file,person\na.jpg,Anna\n")
    files, _ = gather_files([photos, photos / "who.csv"])
    assert build(files, tmp_path / "set", settings=BuildSettings(), jobs=1).new == 0
    assert FaceSet(tmp_path / "set").faces()[0].person == "Anna"


def test_a_damaged_set_is_told(photos: Path, tmp_path: Path) -> None:
    built(photos, tmp_path / "set")
    path = tmp_path / "set" / "set.sqlite"
    path.write_bytes(b"x" * 5000)
    with pytest.raises(DataError, match="cannot be read"):
        FaceSet(tmp_path / "set")


def test_what_is_known_of_a_file_outlives_another_reading_without_the_list(photos: Path, tmp_path: Path) -> None:
    (photos / "who.csv").write_text("file,person,consent\na.jpg,Anna,given\n")
    files, _ = gather_files([photos / "who.csv"])
    build(files, tmp_path / "set", settings=BuildSettings(), jobs=1)
    (photos / "a.jpg").touch()
    assert built(photos, tmp_path / "set").new == 4
    face = FaceSet(tmp_path / "set").faces()[0]
    assert (face.person, face.consent) == ("Anna", "given")


def test_a_kept_face_stays_kept_when_its_file_is_read_again(photos: Path, tmp_path: Path) -> None:
    built(photos, tmp_path / "set")
    kept = FaceSet(tmp_path / "set").faces()[0].key
    (photos / "a.jpg").touch()
    assert built(photos, tmp_path / "set").new == 1
    faceset = FaceSet(tmp_path / "set")
    assert [face.key for face in faceset.faces()] == [kept], "its labels still find it"
    assert [face.copy_of for face in faceset.faces(kept=False)] == [kept]


def test_a_face_that_is_found_before_others_takes_the_place_of_none(make_faceset: Callable[..., Path]) -> None:
    faceset = FaceSet(make_faceset(4))
    row = faceset.files()[1]  # of the two faces that came last but one, which is dropped and of another file
    before = [face for face in faceset.faces() if face.name == row.name]
    crop = bytes(faceset.crop.size_px**2)
    found = [FoundFace(face.key, None, face.box_xyxy, 1.0, face.quality, "", crop, b"") for face in before]
    new = [replace(found[0], key=f"{number}" * 16) for number in "ef"]
    with sqlite3.connect(faceset.folder / "set.sqlite") as database:  # so that they are the last of all
        database.execute("delete from faces where name != ?", (row.name,))
    faceset.add(row, [new[0], found[0], new[1], found[1]])
    assert {face.key for face in faceset.faces()} == {face.key for face in [*found, *new]}
    assert faceset.fit()[0][:2] == [face.key for face in found], "they came first and stay the first"


def test_a_folder_that_holds_something_else_is_left_alone(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own/.gitignore").write_text("build/\n")
    for folder in (tmp_path / "own", photos):
        before = {path: path.read_bytes() for path in folder.rglob("*")}
        with pytest.raises(DataError, match=r"no set of faces, and .* is in it; name an empty folder"):
            built(photos, folder)
        assert {path: path.read_bytes() for path in folder.rglob("*")} == before


def test_a_file_that_could_not_be_opened_is_tried_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(building, "read_image", refused)
        assert len(built(photos, tmp_path / "set").unreadable) == 4
    again = built(photos, tmp_path / "set")
    assert (again.new, again.kept) == (4, 1)
    assert [name for name, _ in again.unreadable] == ["photos/c.jpg"]
    assert built(photos, tmp_path / "set").new == 0, "c.jpg is damaged and stays so"


def test_a_reading_that_fails_takes_no_faces_away(photos: Path, tmp_path: Path) -> None:
    built(photos, tmp_path / "set")
    before = [face.key for face in FaceSet(tmp_path / "set").faces()]
    files, _ = gather_files([photos])
    (photos / "a.jpg").rename(tmp_path / "away.jpg")
    again = build(files, tmp_path / "set", settings=BuildSettings(), jobs=1)
    told = "cannot be read (No such file or directory); its faces from before stay"
    assert dict(again.unreadable)["photos/a.jpg"] == told
    assert [face.key for face in FaceSet(tmp_path / "set").faces()] == before
    assert FaceSet(tmp_path / "set").view(before[0]).is_file()
    (tmp_path / "away.jpg").rename(photos / "a.jpg")
    again = built(photos, tmp_path / "set")
    assert (again.new, [name for name, _ in again.unreadable]) == (1, ["photos/c.jpg"]), "it was tried again"
    (photos / "a.jpg").write_bytes(b"half a picture")
    built(photos, tmp_path / "set")
    assert [face.key for face in FaceSet(tmp_path / "set").faces()] == before


def test_what_a_failed_reading_finds_stands_beside_what_was_there(photos: Path, tmp_path: Path) -> None:
    built(photos, tmp_path / "set")
    faceset = FaceSet(tmp_path / "set")
    (known,) = faceset.faces()
    file = next(row for row in faceset.files() if row.name == known.name)
    crop = bytes(faceset.crop.size_px**2)
    new = FoundFace("new", None, known.box_xyxy, known.score, known.quality, "", crop, b"a picture")
    faceset.add(replace(file, error="ends in the middle"), [new])
    assert {face.key for face in faceset.faces()} == {known.key, "new"}
    assert faceset.view(known.key).is_file()
    faceset.add(file, [new])
    assert {face.key for face in faceset.faces()} == {"new"}, "a whole reading replaces it"


def refused(path: Path) -> None:
    raise ImageError(f"{path}: cannot be read") from PermissionError(errno.EACCES, "Permission denied")


def test_one_file_under_two_names_is_one(photos: Path, tmp_path: Path) -> None:
    (photos / "who.csv").write_text(f"file,person\n../{photos.name}/a.jpg,Anna\n")
    files, _ = gather_files([photos, photos / "who.csv"])
    assert build(files, tmp_path / "set", settings=BuildSettings(), jobs=1).files == 4
    assert FaceSet(tmp_path / "set").faces()[0].person == "Anna"


def test_two_builds_of_one_set_do_not_mix(photos: Path, tmp_path: Path) -> None:
    built(photos, tmp_path / "set")
    with at_work(tmp_path / "set"), pytest.raises(InputError, match="another `mien data` is at work"):
        built(photos, tmp_path / "set")


def test_a_build_that_was_cut_short_makes_no_dataset(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(building, "mark_copies", lambda faceset: pytest.fail("cut short"))
        with pytest.raises(pytest.fail.Exception):
            built(photos, tmp_path / "set")
    with pytest.raises(DataError, match="has not come to its end"):
        prepare(tmp_path / "set", tmp_path / "data")
    built(photos, tmp_path / "set")
    with pytest.raises(DataError, match="no face has a label"):
        prepare(tmp_path / "set", tmp_path / "data")


def with_anna(photos: Path, out: Path, *, file: str = "a.jpg") -> FaceSet:
    """Return a set of the folder whose list says of a file that it shows Anna."""
    (photos / "who.csv").write_text(f"file,person\n{file},Anna\n")
    files, _ = gather_files([photos, photos / "who.csv"])
    build(files, out, settings=BuildSettings(), jobs=1)
    return FaceSet(out)


def test_who_is_forgotten_is_gone_with_pictures_and_copies(photos: Path, tmp_path: Path) -> None:
    faceset = with_anna(photos, tmp_path / "set")
    assert len(list((tmp_path / "set" / "faces").iterdir())) == 2
    assert forget(faceset, files_of(faceset, "Anna")) == 2
    assert faceset.faces() == faceset.faces(kept=False) == []
    assert list((tmp_path / "set" / "faces").iterdir()) == []
    assert "photos/a.jpg" not in [file.name for file in faceset.files()]


def test_other_copies_of_a_forgotten_face_and_pictures_without_a_face_go_too(photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "a.jpg", photos / "b-a.jpg")
    shutil.copy(photos / "a.jpg", photos / "c-a.jpg")
    faceset = with_anna(photos, tmp_path / "set", file="b-a.jpg")
    (tmp_path / "set" / "faces" / f"{7:016x}.jpg").write_bytes(b"of a build that was killed")
    copies = sum(file.name.endswith("a.jpg") for file in faceset.files())
    assert forget(faceset, files_of(faceset, "Anna")) == copies + 1
    assert not {face.name for face in [*faceset.faces(), *faceset.faces(kept=False)]} & {
        "photos/a.jpg",
        "photos/c-a.jpg",
    }
    assert not (tmp_path / "set" / "faces" / f"{7:016x}.jpg").exists()


def test_forgetting_that_was_stopped_half_way_can_be_done_again(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faceset = with_anna(photos, tmp_path / "set")
    with monkeypatch.context() as patch:
        patch.setattr(FaceSet, "_writing", lambda self: pytest.fail("stopped"))
        with pytest.raises(pytest.fail.Exception):
            forget(faceset, files_of(faceset, "Anna"))
    assert forget(faceset, files_of(faceset, "Anna")) == 2


@pytest.mark.parametrize("file", ["a.jpg", "small.jpg"])
def test_copies_go_too_where_they_or_what_is_forgotten_are_unfit(photos: Path, tmp_path: Path, file: str) -> None:
    with Image.open(photos / "a.jpg") as image:
        small = image.resize((image.width * 54 // 100, image.height * 54 // 100))
    small.save(photos / "small.jpg")
    small.transpose(Transpose.FLIP_LEFT_RIGHT).save(photos / "other.jpg")  # no copy, as it is no likeness
    faceset = with_anna(photos, tmp_path / "set", file=file)
    reasons = {face.name: face.reason for face in faceset.faces(kept=False)}
    assert reasons["photos/small.jpg"] == reasons["photos/other.jpg"] == "size_px", "not dropped as copies"
    assert forget(faceset, files_of(faceset, "Anna")) == 3
    assert [face.name for face in [*faceset.faces(), *faceset.faces(kept=False)]] == ["photos/other.jpg"]


def test_a_person_is_forgotten_however_the_name_is_spelled(photos: Path, tmp_path: Path) -> None:
    faceset = with_anna(photos, tmp_path / "set")
    assert files_of(faceset, " ANNA ") == ["photos/a.jpg"]
    assert files_of(faceset, "Ann") == []
