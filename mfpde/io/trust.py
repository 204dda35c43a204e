"""Whether files are believed without a look at what they are made of: ``--trust``. Imports nothing.

A file of one's own may be larger than any that ``mfpde.io.vet`` lets in. Checksums, types and names are looked at all
the same when numbers are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class _Given:
    """State of the process: one command line is run at a time."""

    trust = False


def given() -> bool:
    """Whether ``--trust`` was given."""
    return _Given.trust


@contextmanager
def files(trust: bool) -> Iterator[None]:
    """Inside the block HDF5 files are not vetted if ``trust``."""
    before, _Given.trust = _Given.trust, trust
    try:
        yield
    finally:
        _Given.trust = before
