"""HDF5 files that nobody should read: each kind names another file, lies about its size, loops, or hides code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

MANY = 10_001
SECRET = "nobody else's business"


def write(kind: str, path: Path, secret: Path) -> None:
    """A file of this kind at ``path``; those that point elsewhere point at ``secret``."""
    secret.write_text(SECRET, encoding="utf-8")
    with h5py.File(path, "w", libver=("v110", "v114")) as file:
        file.attrs["Conventions"] = np.bytes_("mfpde-1")
        file.attrs["schema"] = 1
        KINDS[kind](file.create_group("limit"), str(secret))


def _link(group: h5py.Group, link: h5py.SoftLink | h5py.ExternalLink) -> None:
    group["x"] = link


def _external_storage(group: h5py.Group, secret: str) -> None:
    group.create_dataset("x", shape=(4,), dtype="i1", external=[(secret, 0, 4)])


def _virtual(group: h5py.Group, secret: str) -> None:
    layout = h5py.VirtualLayout(shape=(4,), dtype="f8")
    layout[:] = h5py.VirtualSource(secret, "x", shape=(4,))
    group.create_virtual_dataset("x", layout)


def _two_names(group: h5py.Group, _: str) -> None:
    group["x"] = np.zeros(3)
    group["y"] = group["x"]


def _cycle(group: h5py.Group, _: str) -> None:
    group["x"] = group.file["/"]


def _declared(group: h5py.Group, _: str) -> None:
    group.create_dataset("x", shape=(1 << 40,), dtype="f8", chunks=(1 << 20,))


def _bomb(group: h5py.Group, _: str) -> None:
    item = group.create_dataset("x", shape=(1 << 24,), dtype="f8", compression="gzip", chunks=(1 << 20,))
    item[...] = 0.0


def _huge_chunk(group: h5py.Group, _: str) -> None:
    group.create_dataset("x", shape=(1 << 27,), dtype="f8", chunks=(1 << 27,))


def _filter(group: h5py.Group, _: str) -> None:
    group.create_dataset("x", data=np.zeros(64), chunks=(64,), scaleoffset=3)


def _unknown_filter(group: h5py.Group, _: str) -> None:
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((64,))
    plist.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, (1, 2))
    h5py.h5d.create(group.id, b"x", h5py.h5t.IEEE_F64LE, h5py.h5s.create_simple((64,)), plist)


def _named_type(group: h5py.Group, _: str) -> None:
    group["x"] = np.dtype("f8")


def _many_objects(group: h5py.Group, _: str) -> None:
    for k in range(MANY):
        h5py.h5g.create(group.id, b"%d" % k)


def _many_attributes(group: h5py.Group, _: str) -> None:
    space = h5py.h5s.create(h5py.h5s.SCALAR)
    for k in range(MANY):
        h5py.h5a.create(group.id, b"%d" % k, h5py.h5t.STD_I8LE, space)


def _values(*values: object) -> Callable[[h5py.Group, str], None]:
    def put(group: h5py.Group, _: str) -> None:
        for k, value in enumerate(values):
            group[f"x{k}" if k else "x"] = value

    return put


def _attribute(value: object) -> Callable[[h5py.Group, str], None]:
    def put(group: h5py.Group, _: str) -> None:
        group.attrs["x"] = value

    return put


# the first ten hide in a dataset /limit/x, which a study can name as its data too
KINDS: dict[str, Callable[[h5py.Group, str], None]] = {
    "soft link": lambda group, _: _link(group, h5py.SoftLink("/limit")),
    "external link": lambda group, secret: _link(group, h5py.ExternalLink(secret, "/")),
    "external storage": _external_storage,
    "virtual dataset": _virtual,
    "declared terabytes": _declared,
    "compression bomb": _bomb,
    "huge chunk": _huge_chunk,
    "variable text": _values("abc"),
    "compound": _values(np.zeros(3, dtype=[("a", "f8")])),
    "references": lambda group, _: _values(np.array([group.file.ref], dtype=h5py.ref_dtype))(group, ""),
    "enumeration": _values(np.array([True, False])),
    "opaque": _values(np.zeros(3, dtype="V8")),
    "long double": _values(np.zeros(3, dtype=np.longdouble)),
    "filter": _filter,
    "unknown filter": _unknown_filter,
    "cycle": _cycle,
    "two names": _two_names,
    "named type": _named_type,
    "deep": lambda group, _: group.create_group("x/" * 20) and None,
    "many objects": _many_objects,
    "many attributes": _many_attributes,
    "variable attribute": _attribute("abc"),
    "empty attribute": _attribute(h5py.Empty("f8")),
    "no scales": _values(np.zeros(3)),
}
AS_DATA = list(KINDS)[:15]
