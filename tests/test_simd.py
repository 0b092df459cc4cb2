"""Every instruction of simd.py and tile.py by itself against NumPy, for both dtypes; nothing is written beside it.

The tests hold for vectors of any width: test_other_machines.py runs them as narrower and wider machines would.
"""

import math

import numpy as np
import pytest

from minigrad.kernels import simd, tile
from minigrad.kernels.jit import kernel
from minigrad.kernels.simd import VECTOR_BYTES
from minigrad.kernels.threads import Launcher

pytestmark = pytest.mark.parametrize("dtype", [np.float32, np.float64])

OWN = -7.5  # what an array holds where nothing is written


def width(dtype):
    return VECTOR_BYTES // np.dtype(dtype).itemsize


def numbers(dtype, count, seed=0):
    return np.random.default_rng(seed).standard_normal(count).astype(dtype)


def blank(dtype, count):
    return np.full(count, OWN, dtype)


def with_special_values(dtype, seed):
    """Numbers, and every pair of NaN, infinities, zeros and equal numbers in some lane; in vectors of any width."""
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -2.0], dtype)
    first, second = (grid.reshape(-1) for grid in np.meshgrid(special, special))
    pad = -len(first) % width(dtype)
    first, second = (np.concatenate((s, numbers(dtype, pad, seed + i))) for i, s in enumerate((first, second)))
    return first, second


def expect(out, first, values):
    """`values` stand in `out` from `first` on, bit for bit, and nothing else was written."""
    right = blank(out.dtype, len(out))
    right[first : first + len(values)] = values
    np.testing.assert_array_equal(out, right)


@kernel
def copy_vector(x, i, out, j):
    simd.store(simd.load(x, i), out, j)
    return simd.lanes(x)


@pytest.mark.parametrize("i", [0, 1, 3])
def test_load_and_store_move_a_vector_from_and_to_any_index(dtype, i):
    n = width(dtype)
    x, out = numbers(dtype, 2 * n + 5), blank(dtype, 3 * n)
    assert copy_vector(x, i, out, i + 1) == n
    expect(out, i + 1, x[i : i + n])


@kernel
def copy_even(x, i, out):
    simd.store(simd.load_even(x, i), out, 1)


def test_load_even_takes_every_second_value_and_reads_no_further_than_the_last(dtype):
    n = width(dtype)
    for i in (0, 1):
        x, out = numbers(dtype, 2 * n - 1 + i), blank(dtype, n + 3)
        copy_even(x, i, out)
        expect(out, 1, x[i::2])


@kernel
def zip_vectors(x, y, out):
    simd.store_pairs(simd.load(x, 0), simd.load(y, 0), out, 1)


def test_store_pairs_puts_two_vectors_in_turns(dtype):
    n = width(dtype)
    x, y, out = numbers(dtype, n), numbers(dtype, n, 1), blank(dtype, 2 * n + 3)
    zip_vectors(x, y, out)
    expect(out, 1, np.stack((x, y), 1).reshape(-1))


@kernel
def fill_vector(value, out):
    simd.store(simd.splat(out, value), out, 1)
    return simd.first_lane(simd.load(out, 1))


def test_splat_repeats_a_number_and_first_lane_is_the_first(dtype):
    n = width(dtype)
    for value in (1.25, -0.0, np.inf, np.nan):
        out = blank(dtype, n + 3)
        np.testing.assert_array_equal(fill_vector(dtype(value), out), dtype(value))
        expect(out, 1, np.full(n, value, dtype))
        assert np.signbit(out[1]) == np.signbit(value)


@kernel
def arithmetic(x, y, out):
    n = simd.lanes(x)
    a, b = simd.load(x, 0), simd.load(y, 0)
    simd.store(a + b, out, 0)
    simd.store(a - b, out, n)
    simd.store(a * b, out, 2 * n)
    simd.store(a / b, out, 3 * n)


def test_arithmetic_is_ieee_lane_by_lane(dtype):
    n = width(dtype)
    x, y = with_special_values(dtype, 2)
    x, y = np.append(x, numbers(dtype, n, 4)), np.append(y, numbers(dtype, n, 5))
    with np.errstate(all="ignore"):
        right = [x + y, x - y, x * y, x / y]
    for at in range(0, len(x), n):
        out = blank(dtype, 4 * n)
        arithmetic(x[at : at + n], y[at : at + n], out)
        np.testing.assert_array_equal(out, np.concatenate([r[at : at + n] for r in right]))


@kernel
def multiply_add(x, y, z, out):
    simd.store(simd.fma(simd.load(x, 0), simd.load(y, 0), simd.load(z, 0)), out, 0)
    return simd.fma(x[0], y[0], z[0])


def test_fma_rounds_once_for_vectors_and_single_numbers(dtype):
    n, eps = width(dtype), np.finfo(dtype).eps
    x, y, out = np.full(n, 1 + eps, dtype), np.full(n, 1 - eps, dtype), blank(dtype, n)
    single = multiply_add(x, y, np.full(n, -1, dtype), out)
    np.testing.assert_array_equal(out, -(eps**2))  # x * y rounded is 1
    assert single == -(eps**2)
    rng = np.random.default_rng(3)
    x, y, z = rng.integers(-99, 99, (3, n)).astype(dtype)
    multiply_add(x, y, z, out)
    np.testing.assert_array_equal(out, x * y + z)


@kernel
def selections(x, y, p, q, out):
    n = simd.lanes(x)
    a, b, yes, no = simd.load(x, 0), simd.load(y, 0), simd.load(p, 0), simd.load(q, 0)
    simd.store(simd.where_beats(a, b, yes, no), out, 0)
    simd.store(simd.where_at_most(a, b, yes, no), out, n)
    simd.store(simd.where_equal(a, b, yes, no), out, 2 * n)


def test_selections_choose_lane_by_lane_and_a_first_nan_beats_any_number(dtype):
    n = width(dtype)
    x, y = with_special_values(dtype, 6)
    yes, no = numbers(dtype, n, 8), numbers(dtype, n, 9)
    beats = (x > y) | np.isnan(x) & ~np.isnan(y)
    for at in range(0, len(x), n):
        out, here = blank(dtype, 3 * n), slice(at, at + n)
        selections(x[here], y[here], yes, no, out)
        right = [np.where(c[here], yes, no) for c in (beats & ~np.isnan(y), x <= y, x == y)]
        np.testing.assert_array_equal(out, np.concatenate(right))


@kernel
def bytes_and_back(x, codes, out):
    simd.store_bytes(simd.load(x, 0), codes, 1)
    simd.store(simd.load_bytes(simd.splat(x, x[0]), codes, 1), out, 0)


def test_bytes_hold_whole_numbers_up_to_255(dtype):
    n = width(dtype)
    for first in (0, 120, 256 - n):
        x, codes, out = np.arange(first, first + n).astype(dtype), np.full(n + 3, 77, np.uint8), blank(dtype, n)
        bytes_and_back(x, codes, out)
        np.testing.assert_array_equal(codes, [77, *range(first, first + n), 77, 77])
        expect(out, 0, x)


@kernel
def sum_of_lanes(x):
    return simd.lane_sum(simd.load(x, 1))


def test_lane_sum_is_a_tree_with_neighbours_first(dtype):
    n = width(dtype)
    for seed in range(20):
        x = numbers(dtype, n + 1, seed)
        total = x[1:]
        while len(total) > 1:
            total = total[::2] + total[1::2]
        assert sum_of_lanes(x) == total[0]


@kernel
def product_range(start, stop, part, x, factor, y):
    for i in range(start, stop):
        y[i] = x[i] * factor


products, flushed_products = Launcher(product_range), Launcher(product_range, flushes=True)


@pytest.mark.filterwarnings("ignore:.* is not cached")  # the worker stands here, not among the kernels
def test_denormals_are_zero_within_a_launch_that_flushes_and_not_after_it(dtype):
    least = np.finfo(dtype).tiny
    x = np.array([least, least / 4, 1, -least, 8 * least], dtype)
    for parts in (1, 2):
        y, flushed = blank(dtype, 5), blank(dtype, 5)
        flushed_products(parts, 5, x, dtype(0.5), flushed)
        products(parts, 5, x, dtype(0.5), y)
        np.testing.assert_array_equal(flushed, np.array([0, 0, 0.5, 0, 4 * least], dtype))
        np.testing.assert_array_equal(y, x / 2)
        assert y[0] > 0


def tile_functions(rows, columns):
    """The instructions on tiles, for one shape."""

    @kernel
    def starts(first, step, last, table, index):
        return (
            tile.spaced(first, step, rows),
            tile.clamped(first, step, last, rows),
            tile.listed(table, index, rows),
        )

    @kernel
    def copy(x, out, row, column):
        r, c = tile.spaced(3, row, rows), tile.spaced(1, column, columns)
        tile.store_tile(tile.load_tile(x, r, c), out, r, c)

    @kernel
    def combine(x, y, floor, out):
        n = simd.lanes(x)
        r, c = tile.spaced(0, columns * n, rows), tile.spaced(0, n, columns)
        a, b = tile.load_tile(x, r, c), tile.load_tile(y, r, c)
        size = rows * columns * n
        tile.store_tile(tile.zeros(x, rows, columns), out, r, c)
        tile.store_tile(tile.add_tiles(a, b), out, tile.spaced(size, columns * n, rows), c)
        tile.store_tile(tile.floored(a, floor), out, tile.spaced(2 * size, columns * n, rows), c)

    @kernel
    def multiply(x, a, row, i, b, column, j, out, lane_by_lane):
        n = simd.lanes(x)
        r, c = tile.spaced(0, columns * n, rows), tile.spaced(0, n, columns)
        values, lines, panels = tile.load_tile(x, r, c), tile.spaced(2, row, rows), tile.spaced(1, column, columns)
        if lane_by_lane:
            values = tile.lanewise(values, a, lines, i, b, panels, j)
        else:
            values = tile.outer(values, a, lines, i, b, panels, j)
        tile.store_tile(values, out, r, c)

    return starts, copy, combine, multiply


SHAPES = {(tile.ROWS, tile.COLUMNS), (tile.ROWS, 1), (3, 4), (1, 8)}
TILES = {shape: tile_functions(*shape) for shape in SHAPES}
each_shape = pytest.mark.parametrize("shape", sorted(SHAPES), ids=str)


def test_a_products_tile_fills_the_registers_but_those_that_feed_it(dtype):
    assert tile.ROWS * tile.COLUMNS + tile.COLUMNS + 1 <= tile.REGISTERS
    assert (tile.ROWS + 1) * tile.COLUMNS + tile.COLUMNS + 1 > tile.REGISTERS


@each_shape
def test_starts_are_spaced_clamped_or_listed(dtype, shape):
    starts, rows = TILES[shape][0], shape[0]
    table = np.array([50, 3, *range(99, 99 + rows * 7, 7)])
    last = 11 + 5 * (rows // 2)
    spaced, clamped, listed = starts(11, 5, last, table, 1)
    assert spaced == tuple(11 + 5 * i for i in range(rows))
    assert clamped == tuple(min(11 + 5 * i, last) for i in range(rows))
    assert listed == tuple(table[1 : 1 + rows])


@each_shape
def test_tiles_are_loaded_and_stored_row_by_row(dtype, shape):
    n, (rows, columns) = width(dtype), shape
    row, column = columns * (n + 2) + 3, n + 2
    x, out = numbers(dtype, 4 + rows * row), blank(dtype, 4 + rows * row)
    TILES[shape][1](x, out, row, column)
    right = blank(dtype, len(out))
    for m in range(rows):
        for k in range(columns):
            at = 3 + m * row + 1 + k * column
            right[at : at + n] = x[at : at + n]
    np.testing.assert_array_equal(out, right)


@each_shape
def test_tiles_of_zeros_sums_and_floors(dtype, shape):
    size = math.prod(shape) * width(dtype)
    x, y = numbers(dtype, size), numbers(dtype, size, 1)
    x[:3] = np.nan, -np.inf, np.inf
    for floor in (0.25, -np.inf):
        out = blank(dtype, 3 * size)
        TILES[shape][2](x, y, dtype(floor), out)
        right = np.concatenate((np.zeros(size), x + y, np.where(x <= floor, dtype(floor), x)))
        np.testing.assert_array_equal(out, right.astype(dtype))
        assert np.isnan(out[2 * size])


@each_shape
@pytest.mark.parametrize("lane_by_lane", [False, True], ids=["outer", "lanewise"])
def test_a_tile_gains_the_products_of_rows_and_columns(dtype, shape, lane_by_lane):
    n, (rows, columns) = width(dtype), shape
    rng = np.random.default_rng(5)
    row, i, column, j = n + 3, 1, n + 1, 2
    a, b, x = (
        rng.integers(-9, 9, size).astype(dtype) for size in (3 + rows * row, 3 + columns * column, rows * columns * n)
    )
    out = blank(dtype, x.size)
    TILES[shape][3](x, a, row, i, b, column, j, out, lane_by_lane)
    right = x.reshape(rows, columns, n).copy()
    for m in range(rows):
        for k in range(columns):
            left, right_values = 2 + m * row + i, b[1 + k * column + j :][:n]
            right[m, k] += (a[left : left + n] if lane_by_lane else a[left]) * right_values
    np.testing.assert_array_equal(out, right.reshape(-1))


@kernel
def transpose_square(x, i, row, out, j, column):
    tile.transpose(x, i, row, out, j, column)


@kernel
def transpose_square_to(x, i, row, out, j, table, k):
    tile.transpose_to(x, i, row, out, j, table, k)


def test_squares_are_transposed_and_nothing_beside_them_is_touched(dtype):
    n = width(dtype)
    row, column = n + 1, n + 3
    x = numbers(dtype, 2 + n * row)
    square = np.array([x[2 + r * row : 2 + r * row + n] for r in range(n)])
    out, right = blank(dtype, 5 + n * column), blank(dtype, 5 + n * column)
    transpose_square(x, 2, row, out, 4, column)
    for c in range(n):
        right[4 + c * column : 4 + c * column + n] = square[:, c]
    np.testing.assert_array_equal(out, right)


def test_squares_are_transposed_to_listed_places(dtype):
    n = width(dtype)
    row, x = n + 1, numbers(dtype, 2 + n * (n + 1))
    table = np.concatenate(([-99], np.random.default_rng(4).permutation(n) * (n + 2)))
    out, right = blank(dtype, 5 + n * (n + 2)), blank(dtype, 5 + n * (n + 2))
    transpose_square_to(x, 2, row, out, 3, table, 1)
    for c in range(n):
        at = 3 + table[1 + c]
        right[at : at + n] = [x[2 + r * row + c] for r in range(n)]
    np.testing.assert_array_equal(out, right)
