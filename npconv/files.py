"""Files that are kept are written here, whole or not at all, and small ones are read here, of a bounded size.

It imports nothing of npconv but what makes their names printable.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import IO

from npconv.printable import printable

LARGEST = 1 << 26  # bytes of a file of text or numbers that is read at once
_BINARY = getattr(os, "O_BINARY", 0)  # Windows would turn the ends of lines


def write(path: str | PathLike[str], contents: bytes | str) -> None:
    """Make `contents` those of the file `path`, in one step: whoever reads it sees the old file or the new one, never half of one.

    They are written to a new file beside it, which is flushed to the disk and then renamed. Its name is random and it is created
    exclusively, so that neither another process nor another thread nor a link that somebody left there is in the way.

    - A new file gets the permissions that any new file gets; one that is replaced keeps its own.
    - A symbolic link stays, and the file that it leads to is replaced. Of several hard links only this one has the new contents.
    - A folder, a device, a FIFO or a socket is refused, and so is a file that is read-only.
    - If anything fails, a full disk for one, the old file is as it was and nothing is left beside it. A process that is killed in
      the middle may leave a file ``.npconv-*`` there.

    Parameters
    ----------
    path : path
        In a folder that exists and in which files may be made.
    contents : bytes or str
        A str is written in UTF-8.

    Raises
    ------
    ValueError
        `path` is something other than a file.
    OSError
        The file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(f"{folder}/answer.txt", "42")
    ...     os.listdir(folder), read("path", f"{folder}/answer.txt", 10)
    (['answer.txt'], b'42')
    """
    path = as_path("path", path)
    data = contents.encode() if isinstance(contents, str) else contents
    try:
        target = Path(os.path.realpath(path))
        mode = _mode_kept("path", target, path)
        unfinished = target.with_name(f".npconv-{secrets.token_hex(8)}")
        # Nobody may read meanwhile what nobody may read afterwards.
        file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666 if mode is None else 0o600)
        try:
            with open(file, "wb") as stream:
                stream.write(data)
                stream.flush()
                if mode is not None:
                    os.chmod(unfinished, mode)
                os.fsync(file)
            os.replace(unfinished, target)
        except BaseException:  # an interrupt too must leave nothing behind
            unfinished.unlink(missing_ok=True)
            raise
        flush_folder(target.parent)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None  # the name that the caller knows


def as_path(name: str, path: object) -> Path:
    """The argument `name` as a Path; TypeError or ValueError where it can be none on any system.

    >>> as_path("path", "a/b").name
    'b'
    """
    if not isinstance(path, str | PathLike):  # an integer would be a file that is open already
        raise TypeError(f"{name} must be a path, got {type(path).__name__}")
    text = os.fsdecode(path)
    if "\0" in text:
        raise ValueError(f"{name} must be a path, which has no null characters, got {text!r}")
    return Path(text)


def is_unicode(text: str) -> bool:
    """Whether a file in UTF-8 can hold the text: not half a surrogate pair, as the name of a file that is no UTF-8 has it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_target(name: str, path: str | PathLike[str] | None) -> None:
    """Raise ValueError, before minutes of work and not after them, unless the argument `name` may become a file by `write`.

    None is no file at all.
    """
    if path is None:
        return
    path = as_path(name, path)
    try:
        target = Path(os.path.realpath(path))
        if not target.parent.is_dir():
            raise ValueError(f"{name} must be a file in a folder that exists, got {printable(path)}")
        _mode_kept(name, target, path)
        if not os.access(target.parent, os.W_OK | os.X_OK):
            raise ValueError(f"{name} must be in a folder in which files may be made, got {printable(path)}")
    except OSError as error:
        raise ValueError(
            f"{name} must be a file that can be written, got {printable(path)} ({error.strerror})"
        ) from None


@contextlib.contextmanager
def opened(name: str, path: str | PathLike[str]) -> Iterator[IO[bytes]]:
    """The file that the argument `name` names, to be read in this block.

    Raises ValueError where it is no file, and waits for no FIFO; OSError where it cannot be read.
    """
    path = as_path(name, path)
    file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    try:
        mode = os.fstat(file).st_mode
        if not stat.S_ISREG(mode):
            raise ValueError(f"{name} must be a file, got {_kind(mode)}: {printable(path)}")
        with open(file, "rb", closefd=False) as stream:
            yield stream
    finally:
        os.close(file)


def read(name: str, path: str | PathLike[str], limit: int = LARGEST) -> bytes:
    """The contents of the file that the argument `name` names, of at most `limit` bytes, which is checked before they are read.

    Raises ValueError where it is no file, and waits for no FIFO, or is larger; OSError where it cannot be read.
    """
    with opened(name, path) as stream:
        contents = stream.read(limit + 1)
    if len(contents) > limit:
        raise ValueError(f"{name} must have at most {limit} bytes, got more: {printable(path)}")
    return contents


def _mode_kept(name: str, target: Path, path: Path) -> int | None:
    """The permissions of the file that is there, None for none; raise where there is anything else."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise ValueError(f"{name} must be a file, got {_kind(mode)}: {printable(path)}")
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "the file is read-only", str(path))
    return stat.S_IMODE(mode)


def _kind(mode: int) -> str:
    """What else than a file there can be in a folder."""
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"))
    return next((name for test, name in kinds if test(mode)), "a device")


def flush_folder(folder: Path) -> None:
    """Let the new name outlive a loss of power, where the system can be asked for it."""
    with contextlib.suppress(OSError):
        file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
