"""Fingerprint64, the hash of strings and features that text operators share.

In: rows of bytes, all of one length, or strings of any lengths. Out: uint64, one for each. It is
the portable 64-bit hash of Google's FarmHash (github.com/google/farmhash), whose values are fixed
for ever: SmartReply's features, LSH_PROJECTION's bits and TensorFlow's hash buckets rest on them.

The length alone decides how a string is read, so all rows of one length are hashed together:

- up to 16 bytes: the ends of the string, overlapping where it is short;
- 17 to 32, 33 to 64 bytes: two or four words from each end, mixed once or twice;
- more: blocks of 64 bytes pass through seven words of state, and the last 64 bytes of the string
  (overlapping the block before) are mixed in last.

All arithmetic is modulo 2^64, which is what NumPy's uint64 arrays do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Words = np.ndarray  # uint64, one for each row

_K0 = np.uint64(0xC3A5C85C97CB3127)
_K1 = np.uint64(0xB492B66FBE98F273)
_K2 = np.uint64(0x9AE16A3B2F90404F)
_SEED = 81
_MASK = (1 << 64) - 1


def fingerprint64(rows: np.ndarray) -> np.ndarray:
    """Hash each row of a uint8 array of shape (count, length); returns uint64 of shape (count,)."""
    count, length = rows.shape
    if count == 0:
        return np.zeros(0, np.uint64)
    if length > 64:
        return _long(rows)
    if length > 32:
        return _to_64(rows)
    if length > 16:
        return _to_32(rows)
    return _to_16(rows)


def fingerprints(strings: Sequence[bytes]) -> np.ndarray:
    """Hash each string; uint64. Strings of one length are hashed together."""
    result = np.zeros(len(strings), np.uint64)
    by_length: dict[int, list[int]] = {}
    for i, string in enumerate(strings):
        by_length.setdefault(len(string), []).append(i)
    for length, indices in by_length.items():
        joined = b"".join(strings[i] for i in indices)
        rows = np.frombuffer(joined, np.uint8).reshape(len(indices), length)
        result[indices] = fingerprint64(rows)
    return result


def _word(rows: np.ndarray, start: int, size: int = 8) -> Words:
    """Bytes from `start` on (from the end, if negative) as a little-endian number."""
    start %= rows.shape[1]
    part = np.ascontiguousarray(rows[:, start : start + size])
    return np.asarray(part.view(f"<u{size}").reshape(-1), np.uint64)


def _rotate(x: Words, bits: int) -> Words:
    """Rotate right."""
    return (x >> np.uint64(bits)) | (x << np.uint64(64 - bits))


def _fold(x: Words) -> Words:
    folded: Words = x ^ (x >> np.uint64(47))
    return folded


def _mix(u: Words, v: Words, multiplier: Words | np.uint64) -> Words:
    """Two words to one."""
    return _fold((v ^ _fold((u ^ v) * multiplier)) * multiplier) * multiplier


def _multiplier(length: int) -> np.uint64:
    return np.uint64((int(_K2) + 2 * length) & _MASK)


def _to_16(rows: np.ndarray) -> Words:
    count, length = rows.shape
    k = _multiplier(length)
    if length >= 8:
        a, b = _word(rows, 0) + _K2, _word(rows, -8)
        return _mix(_rotate(b, 37) * k + a, (_rotate(a, 25) + b) * k, k)
    if length >= 4:
        head, tail = _word(rows, 0, 4), _word(rows, -4, 4)
        return _mix(np.uint64(length) + (head << np.uint64(3)), tail, k)
    if length:
        first, middle, last = (rows[:, i].astype(np.uint64) for i in (0, length // 2, -1))
        y = first + (middle << np.uint64(8))
        z = np.uint64(length) + (last << np.uint64(2))
        return _fold(y * _K2 ^ z * _K0) * _K2
    return np.full(count, _K2)


def _to_32(rows: np.ndarray) -> Words:
    k = _multiplier(rows.shape[1])
    a, b = _word(rows, 0) * _K1, _word(rows, 8)
    c, d = _word(rows, -8) * k, _word(rows, -16) * _K2
    return _mix(_rotate(a + b, 43) + _rotate(c, 30) + d, a + _rotate(b + _K2, 18) + c, k)


def _to_64(rows: np.ndarray) -> Words:
    k = _multiplier(rows.shape[1])
    a, b = _word(rows, 0) * _K2, _word(rows, 8)
    c, d = _word(rows, -8) * k, _word(rows, -16) * _K2
    y = _rotate(a + b, 43) + _rotate(c, 30) + d
    z = _mix(y, a + _rotate(b + _K2, 18) + c, k)
    e, f = _word(rows, 16) * k, _word(rows, 24)
    g, h = (y + _word(rows, -32)) * k, (z + _word(rows, -24)) * k
    return _mix(_rotate(e + f, 43) + _rotate(g, 30) + h, e + _rotate(f + a, 18) + g, k)


def _absorb(block: np.ndarray, start: int, a: Words, b: Words) -> tuple[Words, Words]:
    """Mix 32 bytes of a block into two words."""
    w, x, y, z = (_word(block, start + 8 * i) for i in range(4))
    a = a + w
    b = _rotate(b + a + z, 21)
    total = a + x + y
    return total + z, b + _rotate(total, 44) + a


class _State:
    """The seven words of a long string; `step` mixes in 64 bytes."""

    def __init__(self, rows: np.ndarray) -> None:
        zero = np.zeros(rows.shape[0], np.uint64)
        self.v = self.w = (zero, zero)
        seed = np.uint64((_SEED * int(_K1) + 113) & _MASK)
        self.x = np.uint64(_SEED * int(_K2) & _MASK) + _word(rows, 0)
        self.y = zero + seed
        self.z = _fold(self.y * _K2 + np.uint64(113)) * _K2

    def step(self, block: np.ndarray, multiplier: Words | np.uint64, factor: int = 1) -> None:
        (v0, v1), (w0, w1) = self.v, self.w
        weight = np.uint64(factor)
        x = _rotate(self.x + self.y + v0 + _word(block, 8), 37) * multiplier ^ w1 * weight
        y = _rotate(self.y + v1 + _word(block, 48), 42) * multiplier
        y = y + v0 * weight + _word(block, 40)
        z = _rotate(self.z + w0, 33) * multiplier
        self.v = _absorb(block, 0, v1 * multiplier, x + w0)
        self.w = _absorb(block, 32, z + w1, y + _word(block, 16))
        self.x, self.y, self.z = z, y, x


def _long(rows: np.ndarray) -> Words:
    length = rows.shape[1]
    blocks = (length - 1) // 64
    state = _State(rows)
    for i in range(blocks):
        state.step(rows[:, 64 * i : 64 * i + 64], _K1)
    # The last block counts from the end; how many of its bytes are new goes into the state.
    k = _K1 + ((state.z & np.uint64(0xFF)) << np.uint64(1))
    w0 = state.w[0] + np.uint64((length - 1) % 64)
    v0 = state.v[0] + w0
    state.v, state.w = (v0, state.v[1]), (w0 + v0, state.w[1])
    state.step(rows[:, -64:], k, 9)
    (v0, v1), (w0, w1) = state.v, state.w
    return _mix(
        _mix(v0, w0, k) + _fold(state.y) * _K0 + state.z,
        _mix(v1, w1, k) + state.x,
        k,
    )
