"""Files that are complete or absent, and one writer at a time.

Bytes are written beside the target under a name of their own, synced, and renamed over the target; then the directory
is synced, so that the new name survives a power cut too. A lock file under ``flock`` keeps a second writer out.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from mfpde.errors import FileSystemError

LOCK_FILE = ".mfpde.lock"  # in a directory
_PART = re.compile(r"\.\d+-[0-9a-f]{8}\.part$")


def save(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Write bytes to ``path`` atomically: temporary file beside it, fsync, rename, fsync of the directory."""
    target = os.path.realpath(path)
    part = f"{target}.{os.getpid()}-{secrets.token_hex(4)}.part"
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            try:
                _write_all(descriptor, memoryview(data))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(part, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
        _sync_directory(os.path.dirname(target))
    except OSError as error:
        raise FileSystemError(f"cannot write {os.fspath(path)}: {_reason(error)}") from error


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _sync_directory(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot sync a directory
            raise
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "no space left on the device; the previous file, if any, is intact"
    return error.strerror or str(error)


@contextlib.contextmanager
def lock(path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold an output file (or directory) for writing; temporary files that a killed run left are swept away.

    FileSystemError "in use" at once if another process holds it. The system drops the lock when a process dies.
    """
    target = Path(os.path.realpath(path))
    inside = target.is_dir()
    name = target / LOCK_FILE if inside else target.with_name(target.name + ".lock")
    descriptor = _acquire(name, os.fspath(path))
    try:
        for stale in name.parent.iterdir():
            if _PART.search(stale.name) and (inside or stale.name.startswith(target.name + ".")):
                stale.unlink(missing_ok=True)
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name)
        os.close(descriptor)


def writer(directory: Path) -> int | None:
    """The process of this machine that holds the lock of a directory; looking does not disturb it."""
    try:
        number = int((directory / LOCK_FILE).read_text(encoding="ascii"))
        os.kill(number, 0)
    except PermissionError:  # it lives and is someone else's
        return number
    except (OSError, ValueError):
        return None
    return number


def _acquire(name: Path, path: str) -> int:
    """Descriptor of the locked lock file; tries again if the former holder removed the file in between."""
    while True:
        try:
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise FileSystemError(f"cannot lock {path}: {_reason(error)}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(name) and os.path.samestat(os.fstat(descriptor), os.stat(name)):
                _sign(descriptor, name)
                return descriptor
            os.close(descriptor)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise FileSystemError(f"{path} is in use by another mfpde (process {holder})") from None
        except OSError as error:
            os.close(descriptor)
            raise FileSystemError(f"cannot lock {path}: {_reason(error)}") from error


def _sign(descriptor: int, name: Path) -> None:
    """Who holds the lock stands in its file; where that cannot be written no file is left behind."""
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
