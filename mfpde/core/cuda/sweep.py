"""One kernel behind all forces: every owner meets every passer, z = owner . passer, and keeps sums over the passers.

    total_i = sum_j factor_j K(z_ij),   gradient_ki = sum_j factor_j (K'(z_ij) v_kj + 2 K_q(z_ij) w_ki)

for owners w[k, i] and passers v[k, j], k = 0 .. size - 1. In predict nodes own and particles pass, in pullback the
reverse, in a pair force particles do both.

A block of LANES x ROWS threads has LANES * own owners and meets TILE passers at a time, staged in shared memory. A
thread multiplies own of its owners with GROUP passers in registers, so that each number loaded serves several
multiplications; it leaves factor * K' in shared memory, where each thread then finds what belongs to its components
of the gradient. More components than ROWS * depth are cut into slabs: z runs over all of them, and every slab of the
gradient has blocks of its own.

Order of sums: SPAN passers in working precision, spans in double one after the other, then by fixed trees the rows of a
block and the pieces that ``pieces`` cuts the passers into. All of it follows from the sizes; atomics are not used.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
from numba import cuda

LANES = 32  # a warp, along the owners
ROWS = 4
GROUP = 8
TILE = ROWS * GROUP  # equal to LANES: a warp stages one component of a tile
STEP = 2  # components multiplied per turn of the inner loop
SPAN = 128  # terms that single precision adds before double takes over

# Owners times pieces that fill a large device, and the most pieces worth adding up.
CROWD = 65536
PIECES = 1024
SHARES = 8

# Masking an index with this tells the compiler that it is not negative; else it looks for Python's count from the end.
NATURAL = 0x7FFFFFFFFFFFFFFF

# Small ensembles cannot fill a device, which is no mistake of theirs.
warnings.filterwarnings("ignore", message="Grid size .* low occupancy")


def pieces(owners: int, passers: int) -> tuple[int, int]:
    """(passers in a piece, number of pieces), a piece being whole spans."""
    wanted = min(PIECES, -(-CROWD // owners))
    size = SPAN * -(-passers // (SPAN * wanted))
    return size, -(-passers // size)


def depth_for(size: int) -> int:
    """Components of a gradient per thread: the least of 1, 2, 4, 8 that makes one slab of ``size``, else 16."""
    return next((m for m in (1, 2, 4, 8) if ROWS * m >= size), 16)


@cache
def sweep(element: Any, real: Any, own: int, depth: int, gradient: bool, radial: bool) -> Any:
    """The kernel for one element function; without ``gradient`` only totals, with ``radial`` the term in K_q.

    Its arguments: owners [R or 1, .], by component, the first one at owner_row * M; passers likewise, ``crowd`` of
    them; size; factor [R, .], the first ``crowd`` of a row; table of the element; passers in a piece; and the result
    partial [pieces, R, 1 + size, M] (without gradient [pieces, R, 1, M]): total and gradient, to be added over pieces.
    Grid (blocks of LANES * own owners, times slabs for a gradient; pieces; R), block (LANES, ROWS).
    """
    height = ROWS * depth
    width = LANES * own
    zero = real(0.0)

    @cuda.jit(cache=True)
    def kernel(
        owners: Any,
        owner_row: int,
        passers: Any,
        passer_row: int,
        crowd: int,
        size: int,
        factor: Any,
        table: Any,
        piece_size: int,
        partial: Any,
    ) -> None:
        lane, row = cuda.threadIdx.x & (LANES - 1), cuda.threadIdx.y & (ROWS - 1)
        piece, replica = cuda.blockIdx.y, cuda.blockIdx.z
        slabs = (size + height - 1) // height
        copies = slabs if gradient else 1
        first, slab = cuda.blockIdx.x // copies * width, cuda.blockIdx.x % copies
        present = min(height, size - height * slab)
        count = partial.shape[3]
        begin = piece * piece_size
        end = min(begin + piece_size, crowd)
        owner_replica, passer_replica = min(replica, owners.shape[0] - 1), min(replica, passers.shape[0] - 1)

        tile = cuda.shared.array((height, TILE), real)
        slopes = cuda.shared.array((TILE, width), real)
        sums = cuda.shared.array((2, ROWS, width), np.float64)
        z = cuda.local.array((own, GROUP), real)
        near = cuda.local.array((2, own), real)
        far = cuda.local.array((2, own), np.float64)
        forces = cuda.local.array((depth, own), real)
        owner = cuda.local.array(own, np.int64)

        for p in range(own):
            owner[p] = min(first + lane + LANES * p, count - 1)
            far[0, p] = 0.0
            far[1, p] = 0.0

        for span in range(begin, end, SPAN):
            for p in range(own):
                near[0, p] = zero
                near[1, p] = zero
                for m in range(depth):
                    forces[m, p] = zero

            for start in range(span, min(span + SPAN, end), TILE):
                for p in range(own):
                    for g in range(GROUP):
                        z[p, g] = zero
                # The slab of this block comes last and stays in shared memory for the gradient.
                for turn in range(slabs):
                    low = height * ((slab + 1 + turn) % slabs)
                    high = min(low + height, size)
                    cuda.syncthreads()
                    for m in range(depth):
                        k = low + row + ROWS * m
                        inside = k < high and start + lane < end
                        tile[row + ROWS * m, lane] = (
                            passers[passer_replica, (passer_row + k) * crowd + start + lane] if inside else zero
                        )
                    cuda.syncthreads()
                    for below in range(low, high, STEP):
                        for k in range(STEP):
                            component = (owner_row + min(below + k, size - 1)) * count
                            for p in range(own):
                                w = owners[owner_replica, (component + owner[p]) & NATURAL]
                                for g in range(GROUP):
                                    z[p, g] += w * tile[((below - low) & NATURAL) + k, row * GROUP + g]

                for g in range(GROUP):
                    j = start + row * GROUP + g
                    strength = factor[replica, j] if j < end else zero
                    for p in range(own):
                        value, slope, across = element(z[p, g], table, replica, owner[p], min(j, end - 1))
                        near[0, p] += strength * value
                        if radial:
                            near[1, p] += strength * across
                        if gradient:
                            slopes[row * GROUP + g, lane + LANES * p] = strength * slope

                if gradient:
                    cuda.syncthreads()
                    for below in range(0, TILE, STEP):
                        for k in range(STEP):
                            j = (below & NATURAL) + k
                            for m in range(depth):
                                v = tile[row + ROWS * m, j]
                                for p in range(own):
                                    forces[m, p] += slopes[j, lane + LANES * p] * v

            for p in range(own):
                far[0, p] += near[0, p]
                far[1, p] += near[1, p]
                i = first + lane + LANES * p
                if gradient and i < count:
                    for m in range(depth):
                        k = height * slab + row + ROWS * m
                        if row + ROWS * m < present:
                            before = 0.0 if span == begin else partial[piece, replica, 1 + k, i]
                            partial[piece, replica, 1 + k, i] = before + forces[m, p]

        for p in range(own):
            sums[0, row, lane + LANES * p] = far[0, p]
            sums[1, row, lane + LANES * p] = far[1, p]
        cuda.syncthreads()
        for p in range(own):
            at = lane + LANES * p
            i = first + at
            if i < count:
                if row == 0 and slab == 0:
                    partial[piece, replica, 0, i] = (sums[0, 0, at] + sums[0, 1, at]) + (
                        sums[0, 2, at] + sums[0, 3, at]
                    )
                if radial:
                    across = (sums[1, 0, at] + sums[1, 1, at]) + (sums[1, 2, at] + sums[1, 3, at])
                    for k in range(height * slab + row, height * slab + present, ROWS):
                        w = owners[owner_replica, (owner_row + k) * count + i]
                        partial[piece, replica, 1 + k, i] += 2.0 * across * w

    return kernel


@cuda.jit(cache=True)
def gather(partial: Any, factor: Any, scale: float, out: Any) -> None:
    """out_0i = scale * total_i, out_ki = scale * factor_i * gradient_ki, partial added over its pieces.

    partial [pieces, R, rows, M], factor [R, .], out [R, rows or more, M], what is more being set to 0.
    Grid (blocks of LANES owners; rows of out; R), block (LANES, S <= SHARES): share s adds pieces s, s + S, ... .
    """
    lane, share = cuda.threadIdx.x, cuda.threadIdx.y
    i, row, replica = cuda.blockIdx.x * LANES + lane, cuda.blockIdx.y, cuda.blockIdx.z
    sums = cuda.shared.array((SHARES, LANES), np.float64)
    inside = i < partial.shape[3] and row < partial.shape[2]
    total = 0.0
    if inside:
        for piece in range(share, partial.shape[0], cuda.blockDim.y):
            total += partial[piece, replica, row, i]
    sums[share, lane] = total
    cuda.syncthreads()
    if share == 0 and i < partial.shape[3]:
        for other in range(1, cuda.blockDim.y):
            total += sums[other, lane]
        out[replica, row, i] = total * (scale * factor[replica, i] if row > 0 else scale) if inside else 0.0
