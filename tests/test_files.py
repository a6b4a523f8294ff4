"""A file that is kept is the old one or the new one, whatever is in the way; a file that is read has a size that is checked before."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from npconv import files


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "kept"
    path.write_bytes(b"old")
    return path


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    files.write(str(tmp_path / "new"), "grün\n")
    assert (tmp_path / "new").read_bytes() == "grün\n".encode()
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "usual").stat().st_mode
    assert sorted(os.listdir(tmp_path)) == ["new", "usual"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_a_replaced_file_keeps_its_permissions(target: Path, mode: int) -> None:
    target.chmod(mode)
    files.write(target, b"new")
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == mode


def test_a_private_file_is_private_while_it_is_written(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target.chmod(0o600)
    seen = []
    chmod = os.chmod
    monkeypatch.setattr(os, "chmod", lambda path, mode: (seen.append(os.stat(path).st_mode), chmod(path, mode)))
    files.write(target, b"new")
    assert [stat.S_IMODE(mode) for mode in seen] == [0o600]


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path, target: Path) -> None:
    (tmp_path / "folder").mkdir()
    link, dangling = tmp_path / "folder" / "link", tmp_path / "dangling"
    link.symlink_to("../kept")
    dangling.symlink_to("made")
    for path in (link, dangling):
        files.write(path, b"new")
        assert path.is_symlink()
    assert target.read_bytes() == (tmp_path / "made").read_bytes() == b"new"
    assert os.listdir(tmp_path / "folder") == ["link"]


def test_other_hard_links_keep_the_old_contents(tmp_path: Path, target: Path) -> None:
    os.link(target, tmp_path / "other")
    files.write(target, b"new")
    assert (tmp_path / "other").read_bytes() == b"old"


def test_a_circle_of_links(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(OSError, match="one"):
        files.write(tmp_path / "one", b"new")


def things(folder: Path) -> dict[str, Path]:
    """What a path may be that is no file."""
    found = {
        "a folder": folder / "folder",
        "a FIFO": folder / "fifo",
        "a device": Path(os.devnull),
        "a socket": folder / "s",
    }
    found["a folder"].mkdir()
    os.mkfifo(found["a FIFO"])
    with socket.socket(socket.AF_UNIX) as listening:
        before = os.getcwd()
        os.chdir(folder)  # a socket's path has at most 107 bytes
        try:
            listening.bind("s")
        finally:
            os.chdir(before)
    return found


def test_what_is_no_file_is_refused_and_stays(tmp_path: Path) -> None:
    found = things(tmp_path)
    for kind, path in found.items():
        before = path.stat().st_mode
        for place in (path, tmp_path / f"link to {kind}"):
            if place is not path:
                place.symlink_to(path)
            with pytest.raises(ValueError, match=f"path must be a file, got {kind}: {place}"):
                files.write(place, b"new")
            with pytest.raises(ValueError, match=f"--out must be a file, got {kind}"):
                files.check_target("--out", place)
            if kind != "a socket":  # which cannot be opened at all
                with pytest.raises(ValueError, match=f"--in must be a file, got {kind}: {place}"):
                    files.read("--in", place, 10)
        assert path.stat().st_mode == before


def test_a_read_only_file_is_left_alone(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as for whoever is not root
    target.chmod(0o444)
    with pytest.raises(PermissionError, match="read-only"):
        files.write(target, b"new")
    with pytest.raises(ValueError, match=r"--out must be a file that can be written, got .*read-only"):
        files.check_target("--out", target)
    assert target.read_bytes() == b"old"


@contextlib.contextmanager
def small_disk():
    """No file gets longer than 1,000 bytes: the system stops a writer as it does on a full disk, in the middle.

    For no longer than the writing: what pytest itself prints may be going to a longer file.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_old_file(target: Path) -> None:
    with small_disk(), pytest.raises(OSError, match=r"kept'$") as caught:
        files.write(target, bytes(5000))
    assert caught.value.filename == str(target)
    assert target.read_bytes() == b"old"
    assert os.listdir(target.parent) == ["kept"]


@pytest.mark.parametrize("step", ["chmod", "fsync", "replace"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device"), MemoryError])
def test_whatever_fails_leaves_the_old_file(
    target: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(error if isinstance(error, type) else type(error)):
        files.write(target, b"new")
    assert target.read_bytes() == b"old"
    assert os.listdir(target.parent) == ["kept"]


def test_the_contents_are_flushed_before_the_name_is_theirs(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = []
    for step in ("fsync", "replace"):
        run = getattr(os, step)
        monkeypatch.setattr(os, step, lambda *args, step=step, run=run: (done.append(step), run(*args)))
    files.write(target, b"new")
    assert done == ["fsync", "replace", "fsync"]  # the last is the folder's


def test_a_link_at_a_guessed_name_gets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "victim").write_bytes(b"dear")
    (tmp_path / ".npconv-guessed").symlink_to("victim")
    monkeypatch.setattr(files.secrets, "token_hex", lambda count: "guessed")
    with pytest.raises(FileExistsError):
        files.write(tmp_path / "kept", b"new")
    assert (tmp_path / "victim").read_bytes() == b"dear"
    assert (tmp_path / ".npconv-guessed").is_symlink()


def test_names_are_as_long_as_the_system_allows(tmp_path: Path) -> None:
    files.write(tmp_path / ("n" * 255), b"new")
    assert os.listdir(tmp_path) == ["n" * 255]


def test_threads_and_processes_write_whole_files(tmp_path: Path) -> None:
    """Each of 200 writings is of one letter: whoever reads meanwhile finds one of them, whole."""
    path = tmp_path / "shared"
    files.write(path, b"a" * 100_000)
    code = "import sys; from npconv import files; [files.write(sys.argv[1], sys.argv[2] * 100_000) for _ in range(50)]"
    processes = [subprocess.Popen([sys.executable, "-c", code, path, letter]) for letter in "bc"]
    threads = [
        threading.Thread(target=lambda letter=letter: [files.write(path, letter * 100_000) for _ in range(50)])
        for letter in "de"
    ]
    for thread in threads:
        thread.start()
    seen = set()
    while any(process.poll() is None for process in processes) or any(thread.is_alive() for thread in threads):
        contents = path.read_bytes()
        assert contents == contents[:1] * 100_000
        seen.add(contents[:1])
    for thread in threads:
        thread.join()
    assert [process.returncode for process in processes] == [0, 0]
    assert len(seen) > 1
    assert os.listdir(tmp_path) == ["shared"]


def test_a_target_is_checked_before_the_work(tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.check_target("--json", target)
    files.check_target("--json", tmp_path / "new")
    assert sorted(os.listdir(tmp_path)) == ["kept"]
    with pytest.raises(ValueError, match=r"--json must be a file in a folder that exists, got .*nowhere/new"):
        files.check_target("--json", tmp_path / "nowhere" / "new")
    with pytest.raises(ValueError, match=r"--json must be a file that can be written, got nnn.*name too long"):
        files.check_target("--json", "n" * 300)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ValueError, match="--json must be in a folder in which files may be made"):
        files.check_target("--json", tmp_path / "new")


@pytest.mark.parametrize("path", [None, 0, 3, b"kept", ["kept"], object()])
def test_what_is_no_path(path: object) -> None:
    for call in (
        lambda: files.write(path, b""),
        lambda: files.read("--in", path),
        lambda: files.check_target("--in", path) if path is not None else files.as_path("--in", path),
    ):
        with pytest.raises(TypeError, match=f"must be a path, got {type(path).__name__}"):
            call()


def test_a_path_with_a_null_character() -> None:
    for call in (lambda: files.write("a\0b", b""), lambda: files.read("path", "a\0b")):
        with pytest.raises(ValueError, match=r"path must be a path, which has no null characters, got 'a\\x00b'"):
            call()


def test_reading_is_bounded(target: Path) -> None:
    assert files.read("path", target, 3) == b"old"
    with pytest.raises(ValueError, match=f"at most 2 bytes, got more: {target}"):
        files.read("path", target, 2)
    with pytest.raises(FileNotFoundError):
        files.read("path", target.parent / "nowhere", 2)
