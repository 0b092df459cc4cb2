"""Products of matrices: a tile is ROWS rows of a x COLUMNS vectors of b.

Matrices are flat, with a step from row to row and one from column to column: so a transposed one is read where it is.
Columns of b go through a panel, in which a tile's columns are neighbours. Every sum runs over the inner index in
order, however the work is cut, or over chunks of the batch by the tree of reduce.py.
"""

from .jit import kernel
from .reduce import CHUNK
from .simd import lanes, load, store
from .threads import Launcher
from .tile import COLUMNS, ROWS, add_tiles, clamped, floored, load_tile, outer, spaced, store_tile, transpose, zeros

DEPTH = 256  # terms at a time: a panel of them stays in a core's first cache


@kernel
def pack_panel(b, start, row, column, depth, present, panel):
    """panel[r, j] = b[start + r * row + j * column] for r < depth; 0 for j from `present` on."""
    step = lanes(b)
    width = COLUMNS * step
    if present < width:
        panel[: depth * width] = 0
    done = 0
    if column == 1 and present == width:
        for r in range(depth):
            for j in range(0, width, step):
                store(load(b, start + r * row + j), panel, r * width + j)
        done = depth
    elif row == 1 and present == width:
        done = depth // step * step
        for r in range(0, done, step):
            for j in range(0, width, step):
                transpose(b, start + r + j * column, column, panel, r * width + j, width)
    for r in range(done, depth):
        for j in range(present):
            panel[r * width + j] = b[start + r * row + j * column]


@kernel(inline=True)
def multiply_tile(tile, a, rows, a_step, panel, depth):
    columns = spaced(0, lanes(a), COLUMNS)
    for r in range(depth):
        tile = outer(tile, a, rows, r * a_step, panel, columns, r * COLUMNS * lanes(a))
    return tile


@kernel
def copy_block(source, start, row, target, to, to_row, rows, columns):
    for i in range(rows):
        for j in range(columns):
            target[to + i * to_row + j] = source[start + i * row + j]


@kernel
def matmul_range(start, stop, part, a, b, bias, a_starts, b_starts, sizes, floor, c, scratch):
    rows, inner, columns = sizes[0], sizes[1], sizes[2]
    a_row, a_step, b_row, b_step, chunk = sizes[3], sizes[4], sizes[5], sizes[6], sizes[7]
    step = lanes(a)
    width = COLUMNS * step
    panels, chunks = (columns + width - 1) // width, (rows + chunk - 1) // chunk
    places = spaced(0, step, COLUMNS)
    panel, corner = scratch[part][: DEPTH * width], scratch[part][DEPTH * width :]
    for item in range(start, stop):
        matrix, left = item // (panels * chunks), item // chunks % panels * width
        top = item % chunks * chunk
        bottom, present = min(rows, top + chunk), min(width, columns - left)
        for r in range(0, inner, DEPTH):
            depth = min(DEPTH, inner - r)
            pack_panel(b, b_starts[matrix] + r * b_row + left * b_step, b_row, b_step, depth, present, panel)
            for i in range(top, bottom, ROWS):
                height, at = min(ROWS, bottom - i), (matrix * rows + i) * columns + left
                is_whole = height == ROWS and present == width
                target, place, row = (c, at, columns) if is_whole else (corner, 0, width)
                targets = spaced(place, row, ROWS)
                if r > 0:
                    if not is_whole:
                        copy_block(c, at, columns, corner, 0, width, height, present)
                    tile = load_tile(target, targets, places)
                else:
                    tile = load_tile(bias, spaced(left if bias.size > width else 0, 0, ROWS), places)
                first = a_starts[matrix] + r * a_step
                starts = clamped(first + i * a_row, a_row, first + (bottom - 1) * a_row, ROWS)
                tile = multiply_tile(tile, a, starts, a_step, panel, depth)
                if r + depth == inner:
                    tile = floored(tile, floor)
                store_tile(tile, target, targets, places)
                if not is_whole:
                    copy_block(corner, 0, width, c, at, columns, height, present)


matmul_forward = Launcher(matmul_range, flushes=True)
"""c[i] = max(a[i] b[i] + bias, floor). Items are matrices times panels of columns times chunks of rows.

`sizes` is (rows, inner, columns, step from row to row of a, from column to column, the same two of b, rows of a chunk).
`bias` is a panel of zeros, or as long as all panels and longer than one.
"""


@kernel
def batch_product_range(start, stop, part, a, b, sizes, c, scratch):
    samples, rows, columns = sizes[0], sizes[1], sizes[2]
    step = lanes(a)
    width = COLUMNS * step
    tile_size, tiles = ROWS * width, (rows + ROWS - 1) // ROWS
    places, lines = spaced(0, step, COLUMNS), spaced(0, width, ROWS)
    levels, panel = scratch[part][: 64 * tile_size], scratch[part][64 * tile_size :]
    held = -1
    for item in range(start, stop):
        left, i = item // tiles * width, item % tiles * ROWS
        height, present = min(ROWS, rows - i), min(width, columns - left)
        if left != held:
            pack_panel(b, left, columns, 1, samples, present, panel)
            held = left
        starts = clamped(i, 1, rows - 1, ROWS)
        chunks = 0
        for n in range(0, samples, CHUNK):
            depth = min(CHUNK, samples - n)
            tile = zeros(a, ROWS, COLUMNS)
            for r in range(n, n + depth):
                tile = outer(tile, a, starts, r * rows, panel, places, r * width)
            # As one counts in binary: two sums of equally many chunks become one of twice as many.
            level = 0
            while chunks >> level & 1:
                tile = add_tiles(load_tile(levels, spaced(level * tile_size, width, ROWS), places), tile)
                level += 1
            store_tile(tile, levels, spaced(level * tile_size, width, ROWS), places)
            chunks += 1
        level = 0
        while not chunks >> level & 1:
            level += 1
        tile = load_tile(levels, spaced(level * tile_size, width, ROWS), places)
        level += 1
        while chunks >> level:
            if chunks >> level & 1:
                tile = add_tiles(load_tile(levels, spaced(level * tile_size, width, ROWS), places), tile)
            level += 1
        store_tile(tile, levels, lines, places)
        copy_block(levels, 0, width, c, i * columns + left, columns, height, present)


batch_product = Launcher(batch_product_range, flushes=True)
"""c = a' b, summed over the rows of a (N, rows) and b (N, columns) by chunks. Items are panels times rows of tiles."""


def matmul_scratch(step: int) -> int:
    """The scratch of one part of `matmul_forward`, in values, for vectors of `step` of them."""
    return (DEPTH + ROWS) * COLUMNS * step


def batch_scratch(samples: int, step: int) -> int:
    """The scratch of one part of `batch_product`, likewise."""
    return (64 * ROWS + samples) * COLUMNS * step
