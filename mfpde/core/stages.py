"""What the stages of an explicit method are made of: a potential and masses that are read, flows, masses written back.

One stage is rho + c A rho, A rho = the sum over the faces of a cell of the net flow into it; the flow from cell i to
cell j is up rho_i - down rho_j with the rates of core.fluxes. Computed twice from the same numbers, it leaves one cell
and enters the other to the last bit. Faces at closed ends have rates zero, so that one formula serves all cells.

Kernels pass scratch on by its address: Numba would count the references to arrays in tuples, in every innermost loop.
Indices count doubles and are not checked.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from mfpde.core.compilation import HELPER
from mfpde.core.transfers import in_one_piece
from mfpde.core.vector import Vector, bits_of, fma, select

Array = NDArray[np.float64]

LANES = 32 if in_one_piece() else 16  # four of the widest registers to a quantity
_VECTOR = Vector(types.float64, LANES)


class Field(NamedTuple):
    """The potential min(psi - low, cap) scale, in octaves; psi flat."""

    psi: Array
    low: float
    cap: float
    scale: float


class Update(NamedTuple):
    """out = max((1 - weight) (I + c A)^stages source + weight initial, floor); all flat.

    Weight 0 reads no initial masses and leaves the floor out.
    """

    source: Array
    out: Array
    initial: Array
    c: float
    weight: float
    floor: float


@intrinsic
def address_of(typingctx: Any, array: Any) -> Any:
    """Where the elements of an array begin; the array must outlive it."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return types.int64(array), codegen


@njit(**HELPER)
def by_address(field: Field, update: Update) -> tuple[Field, Update]:
    """The same with addresses for arrays."""
    reading = Field(address_of(field.psi), field.low, field.cap, field.scale)
    source, out, initial = address_of(update.source), address_of(update.out), address_of(update.initial)
    return reading, Update(source, out, initial, update.c, update.weight, update.floor)


def _pointer(builder: ir.IRBuilder, address: ir.Value, index: ir.Value, kind: ir.Type) -> ir.Value:
    byte = builder.add(address, builder.mul(index, ir.Constant(index.type, 8)))
    return builder.inttoptr(byte, kind.as_pointer())


def reader(kind: types.Type) -> Any:
    """(address, index) -> the number, or the vector of numbers, that begins there."""

    def read(typingctx: Any, address: Any, index: Any) -> Any:
        def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
            return builder.load(_pointer(builder, args[0], args[1], context.get_value_type(kind)), align=8)

        return kind(types.int64, types.int64), codegen

    return intrinsic(read)


number_at = reader(types.float64)
vector_at = reader(_VECTOR)  # LANES numbers


@intrinsic
def put(typingctx: Any, address: Any, index: Any, value: Any) -> Any:
    """Write a number or a vector."""
    kind = value if isinstance(value, Vector) else types.float64

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        builder.store(args[2], _pointer(builder, args[0], args[1], args[2].type), align=8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, kind), codegen


@intrinsic
def _prefetch(typingctx: Any, address: Any, index: Any) -> Any:
    """Ask for the cache line of an element that is needed soon; an address beyond the array does no harm."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        pointer, number = _pointer(builder, args[0], args[1], ir.IntType(8)), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [pointer, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def lane(typingctx: Any, vector: Any, k: Any) -> Any:
    """Element ``k`` of a vector."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return builder.extract_element(*args)

    return vector.element(vector, types.int64), codegen


@njit(**HELPER)
def expect(address: int, at: int, count: int = LANES) -> None:
    """Prefetch the cache lines of a vector: the memory works while the processor does."""
    for line in range(0, count, 8):
        _prefetch(address, at + line)


@njit(**HELPER)
def octaves(field: Field, psi: Any) -> Any:
    """NaN stays NaN. The product is compared before it is used: nothing can be contracted with it, here or there."""
    above, highest = (psi - field.low) * field.scale, field.cap * field.scale
    return select(above > highest, highest, above)


@njit(**HELPER)
def read_potential(field: Field, at: int, target: int, to: int, count: int) -> None:
    """Cells at .. at + count - 1 in octaves."""
    vectors = count - count % LANES
    for k in range(0, vectors, LANES):
        put(target, to + k, octaves(field, vector_at(field.psi, at + k)))
    for k in range(vectors, count):
        put(target, to + k, octaves(field, number_at(field.psi, at + k)))


@njit(**HELPER)
def copy(source: int, at: int, target: int, to: int, count: int) -> None:
    """target[to + k] = source[at + k]."""
    vectors = count - count % LANES
    for k in range(0, vectors, LANES):
        put(target, to + k, vector_at(source, at + k))
    for k in range(vectors, count):
        put(target, to + k, number_at(source, at + k))


@njit(**HELPER)
def clear(target: int, begin: int, end: int) -> None:
    """target[begin:end] = 0."""
    for k in range(begin, end):
        put(target, k, 0.0)


@njit(**HELPER)
def _joined(update: Update, last: Any, initial: Any) -> Any:
    mixed = fma(update.weight, initial - last, last)
    return select(mixed < update.floor, update.floor, mixed)


@njit(**HELPER)
def write(levels: int, at: int, update: Update, to: int, count: int) -> None:
    """The last level of a stretch of cells, joined with the initial masses."""
    if update.weight == 0.0:
        copy(levels, at, update.out, to, count)
        return
    vectors = count - count % LANES
    for k in range(0, vectors, LANES):
        put(update.out, to + k, _joined(update, vector_at(levels, at + k), vector_at(update.initial, to + k)))
    for k in range(vectors, count):
        put(update.out, to + k, _joined(update, number_at(levels, at + k), number_at(update.initial, to + k)))


@njit(**HELPER)
def net_flow(up: Any, down: Any, here: Any, there: Any) -> Any:
    """up rho_here - down rho_there."""
    return fma(up, here, -(down * there))


@njit(**HELPER)
def larger(a: Any, b: Any) -> Any:
    """The larger of two numbers without sign; NaN if one is: as integers, its bits are above those of infinity."""
    return select(bits_of(a) > bits_of(b), a, b)


@njit(**HELPER)
def largest_lane(vector: Any) -> float:
    """The largest element of a vector of numbers without sign."""
    largest = lane(vector, 0)
    for k in range(1, LANES):
        largest = larger(lane(vector, k), largest)
    return largest
