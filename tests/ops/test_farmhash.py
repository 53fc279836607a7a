"""Fingerprint64, held against values of the original library."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from martlet.ops.farmhash import fingerprint64, fingerprints

# Of the bytes (131 i + 7 n) mod 256 for i < n, by length n: one or more for each way of reading.
KNOWN = {
    0: 11160318154034397263,
    3: 2179735804650386320,
    4: 13450897507108267270,
    7: 8548589268465059220,
    8: 17803484523572516296,
    15: 3117505387437532025,
    16: 10028825079438810227,
    17: 9440137910795157964,
    31: 17591099124558894855,
    32: 17802089269261520286,
    33: 7190976088537572089,
    63: 2201893140534719362,
    64: 13873284873878294189,
    65: 7969721692539263438,
    127: 1870457240406277839,
    128: 15580770089872403890,
    129: 6919076458991437217,
    200: 13306702592725280303,
}


@pytest.mark.parametrize("length", KNOWN)
def test_every_length_has_the_value_of_the_library(length):
    text = bytes((131 * i + 7 * length) % 256 for i in range(length))
    assert fingerprints([text]).tolist() == [KNOWN[length]]


def test_buckets_are_those_of_the_documentation_of_tensorflow():
    hashes = fingerprints([b"Hello", b"TensorFlow", b"2.x"])
    assert (hashes % np.uint64(3)).tolist() == [0, 2, 2]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=150), max_size=8))
def test_strings_hash_alike_alone_and_together(strings):
    alone = [int(fingerprints([s])[0]) for s in strings]
    assert fingerprints(strings).tolist() == alone


def test_no_rows_have_no_hashes():
    assert fingerprint64(np.zeros((0, 5), np.uint8)).shape == (0,)
