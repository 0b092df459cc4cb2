"""Vectors and tiles at the edges of a matrix: what is not there is neither read nor written.

The tests hold for vectors of any width: test_other_machines.py runs them as narrower and wider machines would.
"""

import numpy as np
import pytest
from test_simd import blank, expect, numbers, width

from minigrad.kernels import edges, simd, tile
from minigrad.kernels.jit import kernel

pytestmark = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@kernel
def copy_some(x, i, count, out, j):
    simd.store(edges.load_some(x, i, count), out, j)


def test_of_a_vector_some_values_are_read_and_the_others_are_zero(dtype):
    n = width(dtype)
    for count in range(n + 1):
        x, out = numbers(dtype, 3 + count), blank(dtype, n + 5)  # the array ends with what is there
        copy_some(x, 3, count, out, 2)
        expect(out, 2, np.concatenate((x[3:], np.zeros(n - count, dtype))))


@kernel
def copy_some_columns(x, row, count, out, out_row, whole):
    rows, columns = tile.spaced(1, row, 3), tile.spaced(0, simd.lanes(x), 2)
    loaded = edges.load_some_tile(x, rows, columns, count)
    tile.store_tile(loaded, whole, tile.spaced(0, 2 * simd.lanes(x), 3), columns)
    edges.store_some_tile(loaded, out, tile.spaced(2, out_row, 3), columns, count)


def test_of_a_tile_some_columns_are_read_and_written(dtype):
    n = width(dtype)
    for count in range(2 * n + 1):
        row, out_row = count + 1, count + 3
        x = numbers(dtype, 1 + 2 * row + count)
        out, whole = blank(dtype, 4 + 3 * out_row), blank(dtype, 6 * n)
        copy_some_columns(x, row, count, out, out_row, whole)
        there = np.array([x[1 + m * row : 1 + m * row + count] for m in range(3)])
        right = blank(dtype, out.size)
        for m in range(3):
            right[2 + m * out_row : 2 + m * out_row + count] = there[m]
        np.testing.assert_array_equal(out, right)
        np.testing.assert_array_equal(whole.reshape(3, 2 * n), np.pad(there, ((0, 0), (0, 2 * n - count))))


@kernel
def transpose_some_rows(x, i, row, last, out, j, column):
    tile.transpose_some(x, i, row, last, out, j, column)


def test_rows_that_are_not_there_are_the_last_one_when_transposed(dtype):
    n = width(dtype)
    row, column = n + 1, n + 2
    for count in range(1, n + 1):
        x = numbers(dtype, 2 + (count - 1) * row + n)
        out, right = blank(dtype, 5 + n * column), blank(dtype, 5 + n * column)
        transpose_some_rows(x, 2, row, 2 + (count - 1) * row, out, 3, column)
        for c in range(n):
            right[3 + c * column :][:n] = [x[2 + min(r, count - 1) * row + c] for r in range(n)]
        np.testing.assert_array_equal(out, right)
