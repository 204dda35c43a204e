"""Vectors of floating-point numbers as values inside compiled kernels: the arithmetic that a tile is written in.

A ``Vector`` of float64 has LANES[float64] = 32 elements, of float32 64: four registers of 512 bits, eight of 256. The
number of elements never depends on the machine, arithmetic is never contracted or re-ordered behind the author's back
(``fma`` says where one rounding is wanted), so results have the same bits on every processor with fused multiply-add.
A kernel on such values is straight-line code that LLVM keeps in registers; a function of plain arithmetic, ``fma``,
``select``, ``sqrt``, ``absolute``, ``copysign``, ``bits_of`` and ``of_bits`` compiles for vectors and scalars alike.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel.models import PrimitiveModel
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, register_model

LANES = {types.float64: 32, types.float32: 64}
_BITS = {types.float64: types.int64, types.float32: types.int32}
_FLOAT_OF = {bits: number for number, bits in _BITS.items()}


class Vector(types.Type):
    """``count`` elements of one scalar type (booleans: a mask)."""

    def __init__(self, element: types.Type, count: int) -> None:
        self.element, self.count = element, count
        super().__init__(f"Vector({element}, {count})")


@register_model(Vector)
class _VectorModel(PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector) -> None:
        width = 1 if kind.element is types.boolean else kind.element.bitwidth
        if isinstance(kind.element, types.Float):
            element: ir.Type = ir.DoubleType() if width == 64 else ir.FloatType()
        else:
            element = ir.IntType(width)
        super().__init__(manager, kind, ir.VectorType(element, kind.count))


def _scalar_of(kind: types.Type) -> types.Type:
    return kind.element if isinstance(kind, Vector) else kind


def splat(builder: ir.IRBuilder, value: ir.Value, count: int) -> ir.Value:
    """A scalar in all ``count`` lanes of a vector."""
    vector = ir.VectorType(value.type, count)
    if isinstance(value, ir.Constant):
        return ir.Constant(vector, [value] * count)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    order = ir.Constant(ir.VectorType(ir.IntType(32), count), [ir.Constant(ir.IntType(32), 0)] * count)
    return builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), order)


def as_vector(context: Any, builder: ir.IRBuilder, value: ir.Value, have: types.Type, want: Vector) -> ir.Value:
    """A vector as it is; a scalar converted to the element type and spread over the lanes."""
    if isinstance(have, Vector):
        return value
    return splat(builder, context.cast(builder, value, have, want.element), want.count)


def _common(kinds: tuple[types.Type, ...]) -> Vector | None:
    vectors = {kind for kind in kinds if isinstance(kind, Vector)}
    return vectors.pop() if len(vectors) == 1 else None


_ARITHMETIC: dict[Any, tuple[str, str | None]] = {
    operator.add: ("fadd", "add"),
    operator.sub: ("fsub", "sub"),
    operator.mul: ("fmul", "mul"),
    operator.truediv: ("fdiv", None),
    operator.lshift: ("", "shl"),
    operator.rshift: ("", "ashr"),
    operator.xor: ("", "xor"),
    operator.and_: ("", "and_"),
    operator.or_: ("", "or_"),
}
_COMPARISONS = {operator.lt: "<", operator.le: "<=", operator.gt: ">", operator.ge: ">=", operator.eq: "=="}


def _register_binary(operation: Any) -> None:
    compares = operation in _COMPARISONS

    @infer_global(operation)
    class _Typing(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            vector = _common(args) if len(args) == 2 and not kws else None
            if vector is None:
                return None
            result = Vector(types.boolean, vector.count) if compares else vector
            return signature(result, *args)

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        vector = _common(sig.args)
        assert vector is not None
        left, right = (
            as_vector(context, builder, value, kind, vector) for value, kind in zip(args, sig.args, strict=True)
        )
        floating = isinstance(vector.element, types.Float)
        if compares:
            compare = builder.fcmp_ordered if floating else builder.icmp_signed
            return compare(_COMPARISONS[operation], left, right)
        name = _ARITHMETIC[operation][0 if floating else 1]
        return getattr(builder, str(name))(left, right)

    for kinds in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
        lower_builtin(operation, *kinds)(lower)


for _operation in (*_ARITHMETIC, *_COMPARISONS):
    _register_binary(_operation)


@infer_global(operator.neg)
class _NegativeTyping(AbstractTemplate):
    def generic(self, args: Any, kws: Any) -> Any:
        return signature(args[0], args[0]) if len(args) == 1 and isinstance(args[0], Vector) else None


@lower_builtin(operator.neg, Vector)
def _lower_negative(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    return builder.fneg(args[0])


def llvm_call(builder: ir.IRBuilder, name: str, *args: ir.Value) -> ir.Value:
    kind = args[0].type
    suffix = {ir.DoubleType(): "f64", ir.FloatType(): "f32"}
    label = f"v{kind.count}{suffix[kind.element]}" if isinstance(kind, ir.VectorType) else suffix[kind]
    function = ir.FunctionType(kind, [kind] * len(args))
    return builder.call(cgutils.get_or_insert_function(builder.module, function, f"llvm.{name}.{label}"), args)


def _elementwise(name: str, count: int) -> Callable[..., Any]:
    """An intrinsic of LLVM on ``count`` operands, scalars spread over the lanes of the vectors among them."""

    def typed(kinds: tuple[types.Type, ...]) -> types.Type:
        return _common(kinds) or next((kind for kind in kinds if kind is types.float32), types.float64)

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        kind = sig.return_type
        if isinstance(kind, Vector):
            values = [as_vector(context, builder, v, k, kind) for v, k in zip(args, sig.args, strict=True)]
        else:
            values = [context.cast(builder, v, k, kind) for v, k in zip(args, sig.args, strict=True)]
        return llvm_call(builder, name, *values)

    def one(typingctx: Any, x: Any) -> Any:
        return typed((x,))(x), codegen

    def two(typingctx: Any, x: Any, y: Any) -> Any:
        return typed((x, y))(x, y), codegen

    def three(typingctx: Any, x: Any, y: Any, z: Any) -> Any:
        return typed((x, y, z))(x, y, z), codegen

    chosen = {1: one, 2: two, 3: three}[count]
    chosen.__name__ = name
    return intrinsic(chosen)


fma = _elementwise("fma", 3)  # x y + z with one rounding
sqrt = _elementwise("sqrt", 1)
absolute = _elementwise("fabs", 1)
copysign = _elementwise("copysign", 2)


@intrinsic
def select(typingctx: Any, mask: Any, yes: Any, no: Any) -> Any:
    """yes where mask, else no."""
    kind = _common((yes, no)) or next((k for k in (yes, no) if isinstance(k, types.Float)), types.float64)
    if isinstance(mask, Vector) and not isinstance(kind, Vector):
        return None

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        if isinstance(kind, Vector):
            values = [as_vector(context, builder, v, k, kind) for v, k in zip(args[1:], sig.args[1:], strict=True)]
        else:
            values = [context.cast(builder, v, k, kind) for v, k in zip(args[1:], sig.args[1:], strict=True)]
        return builder.select(args[0], *values)

    return kind(mask, yes, no), codegen


def _reinterpret(kind: types.Type, table: dict[types.Type, types.Type]) -> types.Type:
    element = table[_scalar_of(kind)]
    return Vector(element, kind.count) if isinstance(kind, Vector) else element


@intrinsic
def bits_of(typingctx: Any, value: Any) -> Any:
    """The bits of floating-point numbers as integers of the same size."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return builder.bitcast(args[0], context.get_value_type(sig.return_type))

    return _reinterpret(value, _BITS)(value), codegen


@intrinsic
def of_bits(typingctx: Any, bits: Any) -> Any:
    """The floating-point numbers that have these bits."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return builder.bitcast(args[0], context.get_value_type(sig.return_type))

    return _reinterpret(bits, _FLOAT_OF)(bits), codegen


def constant(double: float, single: float) -> Any:
    """A number that depends on the precision: constant(x) has the element type of x, integers the size of its bits."""
    number = not isinstance(double, int)

    def value(typingctx: Any, x: Any) -> Any:
        element = _scalar_of(x)
        result = element if number else _BITS[element]
        chosen = double if element is types.float64 else single

        def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
            return ir.Constant(context.get_value_type(result), chosen)

        return result(x), codegen

    return intrinsic(value)


def polynomial(double: Sequence[float], single: Sequence[float]) -> Any:
    """p(x) by Horner's scheme from coefficients of the precision of x, the highest power first."""

    def evaluate(typingctx: Any, x: Any) -> Any:
        coefficients = double if _scalar_of(x) is types.float64 else single

        def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
            def constant_term(value: float) -> ir.Constant:
                if isinstance(sig.args[0], Vector):
                    return ir.Constant(kind, [ir.Constant(kind.element, float(value))] * kind.count)
                return ir.Constant(kind, float(value))

            (power,), kind = args, args[0].type
            total, *rest = map(constant_term, coefficients)
            for term in rest:
                total = llvm_call(builder, "fma", total, power, term)
            return total

        return x(x), codegen

    return intrinsic(evaluate)
