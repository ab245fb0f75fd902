"""Hashes against the published golden values of the specification (docs/ordering.md)."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from megadocs.kinds import row_kind
from megadocs.seeding import derive_seed, document_key, mix, mix_array, row_key, row_key_array

UINT64 = st.integers(0, 2**64 - 1)


def test_golden_values():
    assert mix(0) == 0xE220A8397B1DCDAF
    assert mix(1) == 0x910A2DEC89025CC1
    assert derive_seed(42, "window_order", "real", 0) == 6100563162396668931
    assert document_key("a") == 14608863320967583690
    assert row_key(document_key("a"), row_kind("real").code, 0) == 10761013329918118251


@given(st.lists(UINT64, min_size=1, max_size=20))
def test_arrays_equal_integers(values):
    array = np.array(values, dtype=np.uint64)
    before = array.copy()
    assert mix_array(array).tolist() == [mix(value) for value in values]
    assert (array == before).all()  # the argument is not changed


@given(UINT64, st.integers(0, 10), st.integers(0, 2**31 - 1))
def test_row_key_array_equals_integers(document, kind, generation):
    keys = row_key_array(*(np.array([value], dtype=np.uint64) for value in (document, kind, generation)))
    assert int(keys[0]) == row_key(document, kind, generation)


def test_labels_matter_one_by_one():
    seeds = {derive_seed(0, "a", 1), derive_seed(0, "a", 2), derive_seed(0, "b", 1), derive_seed(1, "a", 1)}
    assert len(seeds) == 4
    assert derive_seed(0, "a", "1") != derive_seed(0, "a", 1)
