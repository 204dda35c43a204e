"""Between arrays and the vectors of core.vector: loads, stores, sums over lanes, and pieces of vectors.

Not every processor holds a whole tile in its registers. Its lanes do not know each other, so that a loop may take them
a piece at a time without a change in any bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic, overload

from mfpde.core.compilation import CACHE_LINE
from mfpde.core.vector import LANES, Vector, as_vector, llvm_call, splat

REGISTER = {types.float64: 8, types.float32: 16}
SUMS = 8


def _element_at(context: Any, builder: ir.IRBuilder, sig: Any, args: Any, first: int = 0) -> ir.Value:
    """Pointer to an element of a contiguous 1-D array: the arguments from ``first`` on are the array and an offset."""
    offset = context.cast(builder, args[first + 1], sig.args[first + 1], types.intp)
    return builder.gep(context.make_array(sig.args[first])(context, builder, args[first]).data, [offset])


def _vector_at(
    context: Any, builder: ir.IRBuilder, sig: Any, args: Any, count: int, first: int = 0
) -> tuple[ir.Value, int]:
    """(pointer to ``count`` elements from that element on, as a vector; the alignment of one element in bytes)."""
    element = sig.args[first].dtype
    vector = ir.VectorType(context.get_value_type(element), count)
    pointer = _element_at(context, builder, sig, args, first)
    return builder.bitcast(pointer, vector.as_pointer()), element.bitwidth // 8


def _resized(builder: ir.IRBuilder, value: ir.Value, have: types.Type, want: types.Type) -> ir.Value:
    """Lanes of one floating-point type as lanes of another."""
    if have is want:
        return value
    kind = ir.VectorType(ir.DoubleType() if want is types.float64 else ir.FloatType(), value.type.count)
    return (builder.fpext if want is types.float64 else builder.fptrunc)(value, kind)


@intrinsic
def load(typingctx: Any, array: Any, offset: Any) -> Any:
    """LANES elements of a contiguous 1-D array from ``offset`` on, aligned to the element only; no bounds check."""
    result = Vector(array.dtype, LANES[array.dtype])

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        where, align = _vector_at(context, builder, sig, args, result.count)
        return builder.load(where, align=align)

    return result(array, offset), codegen


@intrinsic
def store(typingctx: Any, array: Any, offset: Any, value: Any) -> Any:
    """Write a vector to a contiguous 1-D array from ``offset`` on."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        where, align = _vector_at(context, builder, sig, args, value.count)
        builder.store(args[2], where, align=align)
        return context.get_dummy_value()

    return types.void(array, offset, value), codegen


@intrinsic
def stream(typingctx: Any, array: Any, offset: Any, value: Any) -> Any:
    """``store`` past the caches, for what is not read soon: the element must lie on a cache line."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        where, _ = _vector_at(context, builder, sig, args, value.count)
        written = builder.store(args[2], where, align=CACHE_LINE)
        one = ir.Constant(ir.IntType(32), 1)
        written.set_metadata("nontemporal", builder.module.add_metadata([one]))
        return context.get_dummy_value()

    return types.void(array, offset, value), codegen


@intrinsic
def prefetch(typingctx: Any, array: Any, offset: Any) -> Any:
    """Ask for the vector from the element on before it is read; it may lie beyond the end of the array."""
    size = LANES[array.dtype] * array.dtype.bitwidth // 8

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        request = builder.module.declare_intrinsic("llvm.prefetch", [byte], kind)
        start = builder.bitcast(_element_at(context, builder, sig, args), byte)
        for line in range(0, size, CACHE_LINE):
            # for reading, to be kept in all caches, data
            builder.call(request, [builder.gep(start, [ir.IntType(64)(line)]), word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(array, offset), codegen


@intrinsic
def load_as(typingctx: Any, like: Any, array: Any, offset: Any) -> Any:
    """As many elements of ``array`` as the vector ``like``, or one of an array ``like``, has, converted to its type."""
    result = like if isinstance(like, Vector) else Vector(like.dtype, LANES[like.dtype])

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        where, align = _vector_at(context, builder, sig, args, result.count, first=1)
        return _resized(builder, builder.load(where, align=align), array.dtype, result.element)

    return result(like, array, offset), codegen


@intrinsic
def spread_as(typingctx: Any, like: Any, array: Any, offset: Any) -> Any:
    """Element ``offset`` of a contiguous 1-D array in every lane of a vector like this one, of the same type."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return splat(builder, builder.load(_element_at(context, builder, sig, args, first=1)), like.count)

    return like(like, array, offset), codegen


@intrinsic
def spread(typingctx: Any, array: Any, offset: Any) -> Any:
    """Element ``offset`` of a contiguous 1-D array in every lane."""
    result = Vector(array.dtype, LANES[array.dtype])

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return splat(builder, builder.load(_element_at(context, builder, sig, args)), result.count)

    return result(array, offset), codegen


@intrinsic
def filled(typingctx: Any, like: Any, value: Any) -> Any:
    """A number in every lane, for a vector ``like`` or an array that ``load`` reads; a scalar gives a scalar."""
    result = Vector(like.dtype, LANES[like.dtype]) if isinstance(like, types.Array) else like

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        if isinstance(result, Vector):
            return as_vector(context, builder, args[1], sig.args[1], result)
        return context.cast(builder, args[1], sig.args[1], result)

    return result(like, value), codegen


def _stretch(builder: ir.IRBuilder, vector: ir.Value, first: int, count: int) -> ir.Value:
    """Lanes first .. first + count - 1 of a vector, as a vector of ``count``."""
    order = [ir.Constant(ir.IntType(32), first + lane) for lane in range(count)]
    mask = ir.Constant(ir.VectorType(ir.IntType(32), count), order)
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), mask)


@intrinsic
def quarters(typingctx: Any, value: Any) -> Any:
    """The four quarters of a vector."""
    result = types.UniTuple(Vector(value.element, value.count // 4), 4)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        size = value.count // 4
        parts = [_stretch(builder, args[0], k * size, size) for k in range(4)]
        return context.make_tuple(builder, result, parts)

    return result(value), codegen


@intrinsic
def joined(typingctx: Any, first: Any, second: Any) -> Any:
    """One vector of the lanes of two."""
    result = Vector(first.element, 2 * first.count)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        order = [ir.Constant(ir.IntType(32), lane) for lane in range(result.count)]
        return builder.shuffle_vector(*args, ir.Constant(ir.VectorType(ir.IntType(32), result.count), order))

    return result(first, second), codegen


def _pieces() -> int:
    """How many pieces a loop cuts its vectors into to stay in the registers of the processor compiled for.

    A tile of NODES vectors and what it is made of fill 32 registers of 512 bits; 16 of 256 hold a quarter.
    """
    return 1 if "+avx512f" in cpu_target.target_context.codegen().magic_tuple()[2] else 4


def in_one_piece() -> bool:
    """Whether the registers of the processor that is compiled for hold a whole tile."""
    return _pieces() == 1


@intrinsic
def zero_piece(typingctx: Any, like: Any) -> Any:
    """Zeros in as many lanes of a vector of the array ``like`` as a loop over a tile should take at a time."""
    result = Vector(like.dtype, LANES[like.dtype] // _pieces())

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return ir.Constant(context.get_value_type(result), None)

    return result(like), codegen


@intrinsic
def add_product(typingctx: Any, sums: Any, offset: Any, factor: Any, value: Any) -> Any:
    """sums[offset : offset + SUMS] += factor value, folded onto SUMS doubles: register after register, then halves."""
    width = REGISTER[value.element]

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        def register(first: int) -> list[ir.Value]:
            return [_stretch(builder, operand, first, width) for operand in args[2:]]

        total = builder.fmul(*register(0))
        for first in range(width, value.count, width):
            total = llvm_call(builder, "fma", *register(first), total)
        if width > SUMS:
            double = ir.VectorType(ir.DoubleType(), SUMS)
            low, high = (builder.fpext(_stretch(builder, total, first, SUMS), double) for first in (0, SUMS))
            total = builder.fadd(low, high)
        where, align = _vector_at(context, builder, sig, args, SUMS)
        builder.store(builder.fadd(builder.load(where, align=align), total), where, align=align)
        return context.get_dummy_value()

    return types.void(sums, offset, factor, value), codegen


def lanes(array: Any) -> int:
    """Elements of a vector, or of those that ``load`` gives for this array; a constant inside kernels."""
    return LANES[types.float32 if array.dtype == np.float32 else types.float64]


@overload(lanes, strict=False)
def _lanes(array: Any) -> Any:
    count = array.count if isinstance(array, Vector) else LANES[array.dtype]
    return lambda array: count
