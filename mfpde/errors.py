"""Failures a user can meet, each with the exit code the command line returns for it."""

from __future__ import annotations


class MfpdeError(Exception):
    """A failure told in one sentence; ``hint`` says what to do, ``exit_code`` what the process returns."""

    exit_code = 1
    kind = "error"

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class NotConverged(MfpdeError):
    """An iteration stopped before its tolerance."""

    kind = "not converged"


class ConfigError(MfpdeError):
    """A configuration key holds something that is not allowed; names the key, the value and what is allowed."""

    exit_code = 2
    kind = "config"

    def __init__(self, key: str, message: str, hint: str | None = None) -> None:
        super().__init__(f"{key} {message}", hint)
        self.key = key


class DataFileError(MfpdeError):
    """A data file is missing its content, damaged, or not safe to read."""

    exit_code = 4
    kind = "data file"


class NumericalError(MfpdeError):
    """A computation produced a non-finite number or lost an invariant; the state so far has been kept."""

    exit_code = 5
    kind = "numerical"


class FileSystemError(MfpdeError):
    """The operating system refused to read or write a path."""

    exit_code = 6
    kind = "file system"
