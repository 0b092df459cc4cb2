"""IDX files: they give back what was written, and nothing that is damaged gives anything but an error."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from minigrad.data import read_idx, write_idx

IDX_DTYPES = ("u1", "i1", ">i2", "<i2", ">i4", "<i4", ">f4", "<f4", ">f8", "<f8")
idx_arrays = st.sampled_from(IDX_DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4))
)
suffixes = st.sampled_from(["", ".gz"])
MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("idx")


def peak_memory(call):
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@settings(deadline=None)  # a disk may be slow
@given(idx_arrays, suffixes)
def test_idx_files_give_back_what_was_written(folder, array, suffix):
    path = folder / f"array{suffix}"
    write_idx(path, array)
    read = read_idx(path)
    native = array.astype(array.dtype.newbyteorder("="))
    assert read.dtype == native.dtype
    assert read.dtype.isnative
    assert read.shape == array.shape
    assert read.tobytes() == native.tobytes()  # NaN too, bit by bit
    assert read.flags.writeable
    assert read.flags.c_contiguous
    assert path.read_bytes().startswith(b"\x1f\x8b" if suffix else b"\0\0")


def test_idx_bytes_are_those_of_the_format(tmp_path):
    path = tmp_path / "shorts"
    expected = bytes.fromhex("0000 0b02 00000001 00000003 0001 0100 ffff")
    write_idx(path, np.array([[1, 256, -1]], np.int16))
    assert path.read_bytes() == expected
    (tmp_path / "unnamed").write_bytes(gzip.compress(expected))  # gzip is told by its bytes, not by the name
    np.testing.assert_array_equal(read_idx(tmp_path / "unnamed"), [[1, 256, -1]])


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_an_idx_file_cut_anywhere_is_refused_by_name(tmp_path, suffix):
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    write_idx(whole, np.arange(12, dtype=np.int16).reshape(3, 4))
    content = whole.read_bytes()
    assert len(content) >= 36
    for length in range(len(content)):
        cut.write_bytes(content[:length])
        with pytest.raises(ValueError, match=rf"read_idx: .*cut{suffix}: \w+"):
            read_idx(cut)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_bytes_after_the_array_are_refused(tmp_path, pack):
    path = tmp_path / "long"
    content = bytes.fromhex("00000801 00000002 0102")
    path.write_bytes(pack(content))
    np.testing.assert_array_equal(read_idx(path), [1, 2])
    for trailing in (pack(content + b"\3"), pack(content) + b"\3"):
        path.write_bytes(trailing)
        with pytest.raises(ValueError, match=r"read_idx: .*long: .*(trailing bytes|gzipped)"):
            read_idx(path)


@settings(deadline=None)
@given(st.data())
def test_a_changed_gzip_byte_never_gives_another_array(folder, data):
    array = np.arange(40, dtype=np.uint8).reshape(5, 8)
    path = folder / "changed.gz"
    write_idx(path, array)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        read = read_idx(path)  # the time stamp, say, may be any
    except ValueError as error:
        assert "changed.gz" in str(error)  # noqa: PT017 (both outcomes are right)
    else:
        np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "truncated"),
        ("00000d", "truncated"),
        ("01000801 00000000", "two zero bytes.*got 01 00 08 01"),
        ("00000a01 00000000", "type code of 08, 09, 0b, 0c, 0d, 0e.*got 00 00 0a 01"),
        ("00000800 00", "1 to 64 dimensions"),
        ("00000841" + "00000001" * 65 + "00", "1 to 64 dimensions"),
        ("00000802 80000000 80000000" + "00" * 88, r"\(2147483648, 2147483648\) of uint8, above the limit"),
        ("00000e02 ffffffff ffffffff" + "00" * 88, "above the limit"),
        ("00000803 ffffffff 00000000 ffffffff", "above the limit"),
        ("00000801 40000000" + "00" * 92, "1073741824 bytes; the file is truncated after 92"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_headers_that_claim_nonsense_are_refused_without_memory(tmp_path, content, reason, pack):
    path = tmp_path / "claims"
    path.write_bytes(pack(bytes.fromhex(content)))

    def read():
        with pytest.raises(ValueError, match=rf"read_idx: .*claims: .*{reason}"):
            read_idx(path)

    assert peak_memory(read) < 4 * MEBIBYTE


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(st.binary(max_size=8), st.sampled_from([8, 9, 11, 12, 13, 14]).map(lambda code: bytes([0, 0, code]))),
    st.binary(max_size=40),
    st.sampled_from([bytes, gzip.compress, b"\x1f\x8b\x08".__add__]),
)
def test_random_bytes_give_an_array_of_their_size_or_a_value_error(folder, start, rest, pack):
    path = folder / "random"
    content = start + rest
    path.write_bytes(pack(content))
    outcome = []

    def read():
        try:
            outcome.append(read_idx(path))
        except ValueError as error:
            outcome.append(str(error))

    assert peak_memory(read) < 4 * MEBIBYTE
    if isinstance(outcome[0], str):
        assert "random" in outcome[0]
    else:
        assert 4 + 4 * content[3] + outcome[0].nbytes == len(content)


@pytest.mark.parametrize("claimed", [0, 10])
def test_a_gzip_bomb_is_unpacked_only_as_far_as_its_header_claims(tmp_path, claimed):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(struct.pack(">HBBI", 0, 8, 1, claimed) + bytes(64 * MEBIBYTE)))

    def read():
        with pytest.raises(ValueError, match=r"bomb\.gz: .*trailing bytes"):
            read_idx(path)

    assert peak_memory(read) < 4 * MEBIBYTE


def test_the_limit_is_the_callers(tmp_path):
    write_idx(tmp_path / "eight", np.zeros(4, np.int16))
    assert read_idx(tmp_path / "eight", limit=8).shape == (4,)
    with pytest.raises(ValueError, match=r"eight: .*above the limit of 7 bytes"):
        read_idx(tmp_path / "eight", limit=7)


def test_write_idx_refuses_what_idx_does_not_have(tmp_path):
    for dtype in (bool, np.int64, np.uint16, np.float16, complex):
        with pytest.raises(TypeError, match="write_idx: need uint8, int8"):
            write_idx(tmp_path / "no", np.zeros(2, dtype))
    for shape in ((), (1 << 32, 0)):
        with pytest.raises(ValueError, match="write_idx: need 1 to 64 dimensions"):
            write_idx(tmp_path / "no", np.zeros(shape, np.uint8))
    assert list(tmp_path.iterdir()) == []
