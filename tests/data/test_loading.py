"""Data of every kind, found out by itself; and what is damaged, missing or hostile is one sentence in bounded memory."""

from __future__ import annotations

import resource
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from labelled import COLOUR, GREY, LABELS, assert_labelled, sizes
from PIL import Image

from npconv.data import from_arrays, load, load_all, storage

# --- .npz ---


def test_keras_and_medmnist_names(tmp_path: Path) -> None:
    keras = tmp_path / "keras.npz"
    np.savez(keras, x_train=GREY, y_train=LABELS[:, None], x_test=GREY[:6], y_test=LABELS[:6, None])
    data = load(keras)
    assert sizes(data) == [27, 3, 6]
    assert_labelled(data)
    med = tmp_path / "med.npz"
    parts = {"train": 30, "val": 9, "test": 6}
    arrays = {f"{name}_images": GREY[:count] for name, count in parts.items()}
    labels = {f"{name}_labels": LABELS[:count, None] for name, count in parts.items()}
    np.savez_compressed(med, **arrays, **labels, class_names=np.array(["a", "b", "c"]))
    data = load(med)
    assert (sizes(data), data.class_names) == ([30, 9, 6], ("a", "b", "c"))
    assert_labelled(data)
    np.savez(keras, x_train=GREY, y_train=LABELS, x_test=GREY[:6])
    with pytest.raises(ValueError, match="got no 'y_test' in "):
        load(keras)


def test_fortran_order(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", images=np.asfortranarray(GREY), labels=LABELS)
    assert_labelled(load(tmp_path / "f.npz"))


def npy(shape: tuple[int, ...], contents: bytes) -> bytes:
    head = repr({"descr": "|u1", "fortran_order": False, "shape": shape}).encode()
    head += b" " * (-len(head) - 11 & 63) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + contents


def test_a_small_file_that_claims_terabytes(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("images.npy", npy((1 << 20, 1 << 10, 1 << 10), b"x" * 100))
        file.writestr("labels.npy", npy((3,), b"abc"))
    with pytest.raises(ValueError, match=r"images.npy has 100 bytes for an array of 1099511627776"):
        load(path)


@pytest.mark.slow
def test_a_bomb_does_not_fill_memory(tmp_path: Path) -> None:
    """A gigabyte of zeros in a megabyte: the process stays far below that, and says what is wrong."""
    path, size = tmp_path / "bomb.npz", 3 * (7 << 26)
    packer = zlib.compressobj(9)
    piece = b"\0" * (1 << 24)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        with file.open("images.npy", "w", force_zip64=True) as member:
            member.write(npy((3, size // 3), b""))
            for start in range(0, size // 3 * 3, len(piece)):
                member.write(piece[: min(len(piece), size // 3 * 3 - start)])
        file.writestr("labels.npy", npy((3,), b"\0\1\2"))
    assert path.stat().st_size < 20 << 20
    del packer
    code = f"""
import resource, sys
from npconv.data import load
try:
    load({str(path)!r})
except ValueError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    limit = lambda: resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30))  # noqa: E731
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, preexec_fn=limit, check=True)
    message, *_ = result.stdout.splitlines()
    assert "images must have 4 axes" in message or "must fit into" in message


# --- pictures ---


def write_folder(folder: Path, suffix: str = "png", parts: bool = False) -> Path:
    for number, (image, label) in enumerate(zip(GREY, LABELS, strict=True)):
        place = folder / ("train" if number < 24 else "test") if parts else folder
        inside = place / ("cat", "dog", "eel")[label]
        inside.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(inside / f"{number}.{suffix}")
    return folder


def test_a_folder_of_classes(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pets")
    (folder / "cat" / "notes.txt").write_text("no picture")
    (folder / ".hidden").mkdir()
    data = load(folder)
    assert (data.name, data.class_names, sizes(data)) == ("pets", ("cat", "dog", "eel"), [21, 3, 6])
    assert data.train.images.shape == (21, 1, 8, 8)
    assert_labelled(data)


def test_a_folder_with_parts(tmp_path: Path) -> None:
    data = load(write_folder(tmp_path / "pets", parts=True))
    assert (data.class_names, sizes(data)) == (("cat", "dog", "eel"), [21, 3, 6])
    assert_labelled(data)


def test_other_files_for_the_parts(tmp_path: Path) -> None:
    folder, other = write_folder(tmp_path / "pets"), write_folder(tmp_path / "more")
    assert sizes(load(folder, test=other)) == [27, 3, 30]
    assert sizes(load(folder, validation=other, test=other)) == [30, 30, 30]
    assert_labelled(load(folder, test=other))


def test_pictures_of_several_sizes_become_one(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pets")
    Image.fromarray(COLOUR[0].transpose(1, 2, 0)).save(folder / "cat" / "large.png")
    assert load(folder).train.images.shape[1:] == (3, 64, 64)
    assert load(folder, size=(12, 10)).train.images.shape[1:] == (3, 12, 10)


def test_bad_folders(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pets")
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match=r"each class must have pictures, got none in .*empty"):
        load(folder)
    (folder / "empty" / "cut.png").write_bytes((folder / "cat" / "0.png").read_bytes()[:60])
    with pytest.raises(ValueError, match=r"the picture must be a whole image file, got .*cut.png"):
        load(folder)
    with pytest.raises(ValueError, match="a folder of pictures for each class, got 0 in "):
        load(folder / "cat")


# --- CSV ---


def test_csv_of_paths(tmp_path: Path) -> None:
    write_folder(tmp_path / "pets")
    rows = [f"pets/{('cat', 'dog', 'eel')[label]}/{number}.png" for number, label in enumerate(LABELS)]
    names = [("cat", "dog", "eel")[label] for label in LABELS]
    table = tmp_path / "mine.csv"
    table.write_text("\n".join(f"{row},{name}" for row, name in zip(rows, names, strict=True)))
    plain = load(table)
    assert (plain.class_names, sizes(plain)) == (("cat", "dog", "eel"), [21, 3, 6])
    assert_labelled(plain)
    parts = ["train"] * 21 + ["val"] * 3 + ["test"] * 6
    lines = ["Label,split,path", *map(",".join, zip(names, parts, rows, strict=True))]
    table.write_text("\n".join(lines))
    split = load(table)
    assert sizes(split) == [21, 3, 6]
    assert_labelled(split)
    table.write_text("\n".join([*lines, "cat,train,pets/cat/nowhere.png"]))
    with pytest.raises(ValueError, match=r"each path must be a file that exists, got .*nowhere.png in line 32 of "):
        load(table)
    table.write_text("\n".join([*lines, "cat,often,pets/cat/0.png"]))
    with pytest.raises(ValueError, match="split must be train, validation or test, got 'often' in line 32 of "):
        load(table)


def test_csv_of_pixels(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    rows = [",".join(map(str, [label, *image.ravel()])) for label, image in zip(LABELS, GREY, strict=True)]
    table.write_text("\n".join(rows))
    assert_labelled(load(table))
    table.write_text("\n".join([",".join(["label", *(f"pixel{n}" for n in range(64))]), *rows]))
    data = load(table)
    assert (data.train.images.shape, data.class_names) == ((21, 1, 8, 8), ("0", "1", "2"))
    assert_labelled(data)
    for line, message in (
        ("1,2", "each row must have 65 cells, got 2 in line 32 of "),
        (",".join(["1"] * 64 + ["x"]), "pixels must be numbers, got another cell in line 32 of "),
    ):
        table.write_text("\n".join([",".join(["label", *(f"pixel{n}" for n in range(64))]), *rows, line]))
        with pytest.raises(ValueError, match=message):
            load(table)
    for text, message in (("", "must have rows, got none"), ("1,2,3\n", "a square, grey or in three colours, got 2")):
        table.write_text(text)
        with pytest.raises(ValueError, match=message):
            load(table)


# --- what is none of these ---


def test_what_is_none_of_these(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"the data must be an .npz file, an IDX pair .*, got .*a.txt"):
        load(tmp_path / "a.txt")
    with pytest.raises(ValueError, match=r"file or folder that exists, got 'mnist'; did you mean fashion-mnist\?"):
        load("mnist")
    with pytest.raises(ValueError, match=r"images must be 4x4, got 8x8 in digits: only picture files are scaled"):
        load("digits", size=(4, 4))


def test_arguments_of_another_type(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="the data must be a name, or the path of a file or folder, got None"):
        load(None)  # type: ignore[arg-type]
    folder = write_folder(tmp_path / "pets")
    with pytest.raises(TypeError, match="size must be an integer, got '12'"):
        load(folder, size="12")  # type: ignore[arg-type]
    assert load(folder, size=12).train.images.shape[1:] == (1, 12, 12)
    with pytest.raises(TypeError, match=r"validation must be \(images, labels\), got ndarray"):
        from_arrays(GREY, LABELS, validation=GREY)


def test_names_go_before_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    assert load("digits").classes == 10
    assert load("./digits").classes == 3


# --- other data for a network that has learned, and for the parts of a data set ---

NAMED = {"class_names": ("ant", "cat", "dog", "eel"), "mean": np.zeros(1), "std": np.ones(1)}
KINDS = {
    "names": {"labels": np.array(["cat", "dog", "eel"])[LABELS]},
    "numbers with names": {"labels": LABELS, "class_names": np.array(["cat", "dog", "eel"])},
    "numbers": {"labels": LABELS + 1},
    "rows": {"labels": np.eye(4)[LABELS + 1]},
}


@pytest.mark.parametrize("kind", KINDS)
def test_all_images_with_the_labels_of_a_network(tmp_path: Path, kind: str) -> None:
    np.savez(tmp_path / "new.npz", images=GREY, **KINDS[kind])
    part = load_all(tmp_path / "new.npz", **NAMED)
    np.testing.assert_array_equal(part.labels, LABELS + 1)
    np.testing.assert_array_equal(part.images[:, 0], GREY)


def test_pictures_become_what_a_network_learned_from(tmp_path: Path) -> None:
    """White is what it was, colours become grey and grey becomes colours, and the size is the network's."""
    folder = write_folder(tmp_path / "pets")
    part = load_all(folder, **NAMED, white=16.0)
    order = [int(path.stem) for name in ("cat", "dog", "eel") for path in sorted((folder / name).iterdir())]
    np.testing.assert_allclose(part.images[:, 0], GREY[order] * (16 / 255), rtol=1e-6)
    three = {"mean": np.zeros(3), "std": np.ones(3)}
    assert load_all(folder, **NAMED | three, size=(4, 5)).images.shape == (30, 3, 4, 5)


def test_all_digits() -> None:
    part = load_all("digits", class_names=tuple("0123456789"), mean=np.zeros(1), std=np.ones(1), size=(8, 8))
    assert part.images.shape == (1797, 1, 8, 8)
    assert np.bincount(part.labels).min() == 174


@pytest.mark.parametrize(
    ("labels", "own", "message"),
    [
        (LABELS % 2 + 2, "012", "classes must be among 0, 1, 2, got '3'"),
        (LABELS + 4, "012", "classes must be among 0, 1, 2, got '4'"),
        (LABELS.astype(int) - 1, "abc", "classes must be among a, b, c, got '-1'"),
        (np.array(["a", "b", "z"])[LABELS], "abc", "classes must be among a, b, c, got 'z'"),
    ],
)
def test_classes_that_a_network_has_not(tmp_path: Path, labels: np.ndarray, own: str, message: str) -> None:
    np.savez(tmp_path / "new.npz", images=GREY, labels=labels)
    with pytest.raises(ValueError, match=rf"new.npz: {message}"):
        load_all(tmp_path / "new.npz", class_names=tuple(own), mean=np.zeros(1), std=np.ones(1))


def test_parts_of_other_kinds(tmp_path: Path) -> None:
    """A folder and arrays with names of the same classes, in another order: they go together, bright as they are."""
    folder = write_folder(tmp_path / "pets")
    np.savez(tmp_path / "new.npz", images=GREY, labels=2 - LABELS, class_names=np.array(["eel", "dog", "cat"]))
    data = load(folder, test=tmp_path / "new.npz")
    np.testing.assert_array_equal(data.test.labels, LABELS)
    assert data.class_names == ("cat", "dog", "eel")
    data = load(tmp_path / "new.npz", test=folder)
    assert data.class_names == ("eel", "dog", "cat")
    assert_labelled(data, -10.0, 23.0)
    np.savez(tmp_path / "dim.npz", images=GREY / np.float32(255), **KINDS["names"])
    bright, dim = load(folder), load(tmp_path / "dim.npz", test=folder)
    assert np.abs(dim.test.images).max() < 2 * np.abs(bright.test.images).max()
    np.savez(tmp_path / "small.npz", images=GREY[:, :4, :4], labels=LABELS)
    with pytest.raises(ValueError, match=r"images must be 8x8, got 4x4 in .*small.npz"):
        load(folder, test=tmp_path / "small.npz")


def test_large_arrays_are_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "mine.npz", images=GREY, labels=LABELS)
    plain = load(tmp_path / "mine.npz")
    monkeypatch.setattr(storage, "LARGE", 100)
    mapped = load(tmp_path / "mine.npz")
    assert isinstance(mapped.train.images, np.memmap)
    np.testing.assert_array_equal(plain.train.images, mapped.train.images)
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 50})())
    with pytest.raises(ValueError, match=r"the images must fit into .*: the variable TMPDIR names another folder"):
        load(tmp_path / "mine.npz")
