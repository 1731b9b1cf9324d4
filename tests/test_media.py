"""Pictures come in upright and as RGB, whatever they were; what is no picture is refused in one line."""

from __future__ import annotations

import errno
import io
import os
import struct
import threading
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Transpose

from mien.errors import ImageError, InputError, OutputError
from mien.media import DANGLING, LINK, MAX_PIXELS, find_files, find_images, image_suffixes, read_image, write_image

ROWS, COLUMNS = np.mgrid[0:32, 0:48]
GREY = (2 * ROWS + 3 * COLUMNS).astype(np.uint8)
COLOUR = np.stack([GREY, 255 - GREY, np.flipud(GREY)], axis=2)  # no two of its eight orientations are alike

#: How the eight EXIF orientations are stored: what is done to an upright picture before it is written with the tag.
STORED = {
    1: None,
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_90,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_270,
}


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_that_declares(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_all_eight_exif_orientations_turn_out_upright_and_equal(kind: str) -> None:
    known: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}
    options = known.get(kind, {})
    for orientation, turn in STORED.items():
        image = Image.fromarray(COLOUR)
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = encoded(image if turn is None else image.transpose(turn), kind, exif=exif, **options)
        read = read_image(stored)
        assert read.shape == COLOUR.shape, orientation
        # JPEG loses a little, and another little in each orientation.
        assert np.abs(read.astype(int) - COLOUR).max() <= (12 if kind == "JPEG" else 0), orientation


def test_damaged_exif_does_not_spoil_a_whole_picture() -> None:
    for damage in (b"Exif\0\0", b"Exif\0\0not a TIFF header at all", b"Exif\0\0MM\0*\0\0\xff\xff"):
        assert np.array_equal(read_image(encoded(Image.fromarray(COLOUR), "PNG", exif=damage)), COLOUR)


def test_an_orientation_that_xmp_alone_holds_turns_nothing() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    for kind in ("JPEG", "WEBP"):
        plain, told = (encoded(Image.fromarray(COLOUR), kind, **options) for options in ({}, {"xmp": xmp}))
        assert xmp in told
        assert np.array_equal(read_image(told), read_image(plain))


def test_transparent_pixels_are_laid_on_white() -> None:
    alpha = np.full(GREY.shape, 255, np.uint8)
    alpha[:, :10], alpha[:, 10:20] = 0, 128
    whole = COLOUR.copy()
    whole[:, :10] = 255
    whole[:, 10:20] = np.rint(COLOUR[:, 10:20] * (128 / 255) + 255 * (127 / 255))
    for kind in ("PNG", "TIFF"):
        read = read_image(encoded(Image.fromarray(np.dstack([COLOUR, alpha])), kind))
        assert np.abs(read.astype(int) - whole).max() <= 1
    grey = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)])
    read = read_image(encoded(grey, "PNG"))
    assert np.all(read[:, :10] == 255)
    assert np.array_equal(read[:, 20:], np.dstack([GREY] * 3)[:, 20:])


def test_palettes_are_resolved_and_their_transparent_colour_is_white() -> None:
    indices = np.zeros((8, 9), np.uint8)
    indices[:, 3:6], indices[:, 6:] = 1, 2
    image = Image.fromarray(indices)
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    for kind in ("PNG", "GIF"):
        assert np.array_equal(read_image(encoded(image, kind))[0, ::3], [[10, 20, 30], [40, 50, 60], [70, 80, 90]])
        assert np.array_equal(
            read_image(encoded(image, kind, transparency=1))[0, ::3], [[10, 20, 30], [255, 255, 255], [70, 80, 90]]
        )


def test_one_bit_is_black_and_white() -> None:
    bits = GREY > 100
    for kind in ("PNG", "TIFF", "BMP"):
        assert np.array_equal(read_image(encoded(Image.fromarray(bits), kind)), np.dstack([bits * np.uint8(255)] * 3))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_brought_to_eight(kind: str) -> None:
    deep = np.linspace(0, 65535, 32 * 48).round().astype(np.uint16).reshape(32, 48)
    read = read_image(encoded(Image.fromarray(deep), kind))
    assert read.min() == 0
    assert read.max() == 255
    assert np.array_equal(read[..., 0], np.rint(deep / 257).astype(np.uint8))
    assert np.array_equal(read[..., 0], read[..., 1])


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0])
def test_floating_point_grey_is_read_by_its_range(white: float) -> None:
    values = np.linspace(0, white, 32 * 48, dtype=np.float32).reshape(32, 48)
    read = read_image(encoded(Image.fromarray(values), "TIFF"))[..., 0]
    assert np.abs(read - values * (255 / white)).max() <= 0.51


def test_floating_point_holes_are_black() -> None:
    values = np.full((9, 9), 0.5, np.float32)
    values[0, 0], values[0, 1], values[0, 2] = np.nan, np.inf, -np.inf
    read = read_image(encoded(Image.fromarray(values), "TIFF"))[..., 0]
    assert np.array_equal(read[0, :4], [0, 0, 0, 128])


def test_cmyk_looks_as_its_rgb() -> None:
    flat = np.zeros((32, 32, 3), np.uint8)
    flat[:] = (200, 60, 30)
    for kind in ("JPEG", "TIFF"):
        read = read_image(encoded(Image.fromarray(flat).convert("CMYK"), kind))
        assert np.abs(read.astype(int) - flat).max() <= 4


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (16, 12), colour) for colour in ("red", "blue", "green")]
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    read = read_image(encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50, **options))
    assert read.shape == (12, 16, 3)
    assert np.all(read == (255, 0, 0))


def test_a_path_its_bytes_and_the_array_give_the_same(portrait: Path) -> None:
    read = read_image(portrait)
    assert read.dtype == np.uint8
    assert np.array_equal(read, read_image(str(portrait)))
    assert np.array_equal(read, read_image(portrait.read_bytes()))
    assert read_image(read) is read


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_picture_comes_through_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(encoded(Image.fromarray(COLOUR), "PNG"),))
    writer.start()
    assert np.array_equal(read_image(pipe), COLOUR)
    writer.join()


@pytest.mark.parametrize(
    "array",
    [GREY, COLOUR.astype(np.float32), np.dstack([COLOUR, GREY]), COLOUR[:0], COLOUR[:, :0]],
    ids=["grey", "float", "four channels", "no rows", "no columns"],
)
def test_an_array_that_is_not_rgb_uint8_is_refused(array: NDArray[Any]) -> None:
    with pytest.raises(ImageError, match="expected an RGB array"):
        read_image(array)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"this is a letter, not a picture\n" * 50, "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "not a picture"),
        (b"%PDF-1.4\n", "not a picture"),
        (b"\0" * 4096, "not a picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC, which cannot be read here; save it as JPEG"),
    ],
    ids=["empty", "text", "PostScript", "PDF", "zeros", "HEIC"],
)
def test_what_is_no_picture_is_refused_by_name(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=why) as refused:
        read_image(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)
    with pytest.raises(ImageError, match=why):
        read_image(content)


def test_a_wrapper_that_holds_any_format_is_no_picture() -> None:
    def field(record: int, dataset: int, content: bytes) -> bytes:
        return struct.pack(">BBBH", 0x1C, record, dataset, len(content)) + content

    size = struct.pack(">I", 8)
    described = field(3, 20, size) + field(3, 30, size) + field(3, 60, b"\1\0") + field(3, 120, b"\5")
    wrapped = described + field(8, 10, encoded(Image.new("L", (8, 8)), "PNG"))
    with Image.open(io.BytesIO(wrapped)) as image:
        assert (image.format, image.load() is None) == ("IPTC", False)  # Pillow alone takes it
    with pytest.raises(ImageError, match="not a picture"):
        read_image(wrapped)


@pytest.mark.parametrize("path", ["", "no-such-picture.jpg", "x" * 300 + ".jpg", "nul\0.jpg"])
def test_a_path_that_leads_to_no_picture_is_refused(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(path)
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="names there are text")
def test_a_name_that_would_steer_a_terminal_is_told_in_one_line(tmp_path: Path) -> None:
    for name in (b"two\nlines.jpg", b"bell\x07.jpg", b"not utf-8 \xff.jpg"):
        path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        path.write_bytes(b"no picture")
        with pytest.raises(ImageError) as refused:
            read_image(path)
        assert str(refused.value).isprintable()


JPEG = encoded(Image.fromarray(COLOUR), "JPEG", exif=Image.Exif())
PNG = encoded(Image.fromarray(COLOUR), "PNG")
SOURCES = {
    "JPEG": JPEG,
    "progressive JPEG": encoded(Image.fromarray(COLOUR), "JPEG", progressive=True),
    "PNG": PNG,
    "WEBP": encoded(Image.fromarray(COLOUR), "WEBP"),
    "GIF": encoded(Image.fromarray(COLOUR), "GIF"),
    "TIFF": encoded(Image.fromarray(COLOUR), "TIFF"),
    "BMP": encoded(Image.fromarray(COLOUR), "BMP"),
    "JPEG2000": encoded(Image.fromarray(COLOUR), "JPEG2000"),
    **({"AVIF": encoded(Image.fromarray(COLOUR), "AVIF")} if ".avif" in image_suffixes() else {}),
}


def is_a_picture_or_refused_in_one_line(content: bytes) -> bool:
    try:
        read = read_image(content)
    except ImageError as error:
        return "\n" not in str(error)
    return read.dtype == np.uint8 and read.ndim == 3 and read.shape[2] == 3


@pytest.mark.parametrize("kind", SOURCES)
@given(data=st.data())
@settings(max_examples=25, deadline=None, derandomize=True)
def test_a_cut_file_is_a_picture_or_refused(kind: str, data: st.DataObject) -> None:
    content = SOURCES[kind]
    assert is_a_picture_or_refused_in_one_line(content[: data.draw(st.integers(0, len(content) - 1))])


@pytest.mark.parametrize("kind", SOURCES)
@given(data=st.data())
@settings(max_examples=25, deadline=None, derandomize=True)
def test_a_file_with_wrong_bytes_is_a_picture_or_refused(kind: str, data: st.DataObject) -> None:
    content = bytearray(SOURCES[kind])
    for place, byte in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=6)
    ):
        content[place] = byte
    assert is_a_picture_or_refused_in_one_line(bytes(content))


@pytest.mark.parametrize("content", [JPEG, PNG], ids=["JPEG", "PNG"])
def test_half_a_file_is_refused(content: bytes) -> None:
    with pytest.raises(ImageError, match="damaged or truncated"):
        read_image(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("width", "height"), [(60_000, 60_000), (20_000, 8_600), (MAX_PIXELS + 1, 1)], ids=["huge", "large", "long"]
)
def test_a_picture_that_declares_too_many_pixels_is_refused_without_their_memory(width: int, height: int) -> None:
    content = png_that_declares(width, height)
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=r"more than 170,000,000.*make it smaller"):
            read_image(content)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".bmp", ".tif", ".webp", ".jpg", ".jpeg", ".gif", ".ppm", ".tga"])
def test_what_is_written_is_read_again(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "folder" / f"picture{suffix}"
    write_image(path, COLOUR)
    read = read_image(path)
    assert read.shape == COLOUR.shape
    exact = suffix.lower() in (".png", ".bmp", ".tif", ".ppm", ".tga")
    assert np.abs(read.astype(int) - COLOUR).mean() <= (0 if exact else 12)


@pytest.mark.parametrize("name", ["picture", "picture.txt", "picture.pdf", "picture.hdf", "picture.xbm", "picture.mp4"])
def test_a_format_that_holds_no_picture_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be written as"):
        write_image(tmp_path / name, COLOUR)
    assert list(tmp_path.iterdir()) == []


def test_nothing_half_written_is_left_where_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(_image: Image.Image, path: Path, **_options: Any) -> None:
        Path(path).write_bytes(b"half a picture")
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "picture.png"
    write_image(path, COLOUR)
    before = path.read_bytes()
    monkeypatch.setattr(Image.Image, "save", half)
    for target in (path, tmp_path / "another.png"):
        with pytest.raises(OutputError, match="No space left on device") as refused:
            write_image(target, COLOUR)
        assert str(target) in str(refused.value)
    assert [file.name for file in tmp_path.iterdir()] == ["picture.png"]
    assert path.read_bytes() == before


def test_a_picture_cannot_be_written_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError):
        write_image(tmp_path / "file" / "picture.png", COLOUR)


def test_a_folders_pictures_are_found_below_it_in_order_by_suffix_in_any_case(tmp_path: Path) -> None:
    names = ["b.jpg", "a.PNG", "sub/c.Jpeg", "sub/deeper/d.tif", "z.webp", "stereo.mpo"]
    others = ["notes.txt", ".hidden.jpg", ".folder/e.jpg", "sub/.f.png", "clip.mp4", "page.pdf", "vector.eps", "png"]
    for name in (*names, *others):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.jpg").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == sorted(names)
    assert found == [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]


def test_a_hidden_folder_that_is_named_is_searched(tmp_path: Path) -> None:
    folder = tmp_path / ".cache" / "pictures"
    folder.mkdir(parents=True)
    (folder / "a.jpg").write_bytes(b"")
    assert list(find_images(folder)) == [folder / "a.jpg"]


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "round").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    (tmp_path / "lost.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "linked.jpg").symlink_to(tmp_path / "a.jpg")
    assert list(find_images(tmp_path)) == [tmp_path / "a.jpg", tmp_path / "linked.jpg"]


def test_what_may_be_a_picture_and_is_left_out_is_told_and_so_is_each_other_file(tmp_path: Path) -> None:
    for name in ("a.jpg", "notes.txt", "IMG_1.HEIC", "sub/people.csv", ".DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "round").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "lost.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    left_out: dict[str, str] = {}
    others: list[Path] = []
    found = find_files(tmp_path, image_suffixes(), on_left_out=left_out.__setitem__, on_other=others.append)
    assert list(found) == [tmp_path / "a.jpg"]
    assert left_out == {str(tmp_path / "round"): LINK, str(tmp_path / "lost.jpg"): DANGLING}
    assert sorted(path.name for path in others) == ["IMG_1.HEIC", "lost", "notes.txt", "people.csv", "pipe.png"]


def test_a_folder_that_may_be_listed_and_not_entered_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.jpg", "closed/b.jpg", "closed/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    real = Path.stat

    def stat(path: Path, **how: bool) -> os.stat_result:
        if path.parent.name == "closed":  # as the system does; who runs the tests may enter all folders
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, **how)

    monkeypatch.setattr(Path, "stat", stat)
    left_out: list[tuple[str, str]] = []
    assert list(find_images(tmp_path, on_left_out=lambda *told: left_out.append(told))) == [tmp_path / "a.jpg"]
    assert left_out == [(str(tmp_path / "closed"), "Permission denied")]


def test_a_folder_without_pictures_gives_none(tmp_path: Path) -> None:
    assert list(find_images(tmp_path)) == []


def test_only_formats_that_are_decoded_count_as_pictures() -> None:
    known = image_suffixes()
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".gif", ".bmp"} <= known
    assert not {".pdf", ".eps", ".ps", ".iim", ".mpg", ".h5", ".wmf", ".txt", ".mp4", ""} & known
    assert all(suffix == suffix.lower() for suffix in known)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_white_of_deep_grey_is_the_largest_value_of_the_bits_that_are_used(bits: int) -> None:
    ramp = np.linspace(0, 2**bits - 1, 32 * 48).round().astype(np.uint16).reshape(32, 48)
    read = read_image(encoded(Image.fromarray(ramp), "PNG"))
    assert (int(read.min()), int(read.max())) == (0, 255)
    assert np.abs(read[..., 0] - ramp * (255 / (2**bits - 1))).max() <= 0.5


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_the_bytes_of_a_file_may_come_in_any_kind_of_buffer(kind: type, portrait: Path) -> None:
    assert np.array_equal(read_image(kind(portrait.read_bytes())), read_image(portrait))


def test_what_is_no_path_bytes_or_array_is_refused_with_what_was_wanted() -> None:
    with pytest.raises(ImageError, match="expected a path, the bytes of a picture or an RGB array; got int"):
        read_image(7)  # type: ignore[arg-type]  # what is refused
