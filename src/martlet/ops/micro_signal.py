"""The audio front end of TensorFlow Lite for Microcontrollers: samples to mel features.

    SignalWindow                         samples * window
    SignalFftAutoScale                   shifted up as far as they fit, and by how many bits
    SignalRfft, SignalIrfft              KISS FFT, and back
    SignalEnergy                         |z|^2 of each bin
    SignalFilterBank                     sums over triangular bands
    SignalFilterBankSquareRoot           root, shifted back down
    SignalFilterBankSpectralSubtraction  less a smoothed estimate of the noise
    SignalPCAN                           gain by the noise (Wang et al., arXiv 1607.05666)
    SignalFilterBankLog                  logarithm

All but the float transforms are integers, those of the library's portable code to the bit; they
wrap where C's do. The noise estimate is kept from run to run. Bins that are not asked for are 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from martlet.dtypes import DType
from martlet.ops import custom_options
from martlet.ops.fixed_point_fft import irfft, rfft
from martlet.ops.micro_streams import integers, node_state
from martlet.ops.operator import Call, Spec, register

_U64 = np.uint64
_LARGEST = 1 << 24


def _vector(call: Call, i: int, dtype: DType) -> int:
    call.check_dtype(i, dtype)
    return call.check_rank(i, 1)[0]


# Window, scale, spectrum ---------------------------------------------------------------------


def _infer_window(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.INT16)
    call.check_rank(0, 1, 32)
    size = _vector(call, 1, DType.INT16)
    samples = math.prod(call.shape(0))
    call.check(
        size > 0 and samples % size == 0,
        "the window does not divide the samples", f"a divisor of {samples}", str(size),
    )  # fmt: skip
    integers(call, shift=(0, 31))
    return [call.spec(0)]


def _window(call: Call, samples: np.ndarray, window: np.ndarray) -> np.ndarray:
    shift = integers(call, shift=(0, 31))["shift"]
    product = samples.reshape(-1, window.size).astype(np.int32) * window.astype(np.int32)
    scaled: np.ndarray = np.clip(product >> shift, -32768, 32767).astype(np.int16)
    return scaled.reshape(samples.shape)


def _infer_auto_scale(call: Call) -> list[Spec]:
    _vector(call, 0, DType.INT16)
    return [call.spec(0), Spec(DType.INT32, ())]


def _largest_magnitude(samples: np.ndarray) -> int:
    """As an int16, into which 32768 does not fit: after a -32768 the search begins at -32768."""
    lowest = np.flatnonzero(samples == -32768)
    if not lowest.size:
        return int(np.abs(samples.astype(np.int32)).max(initial=0))
    largest = -32768
    for position in range(int(lowest[-1]) + 1, samples.size):
        value = int(samples[position])
        if largest >= 0:
            rest = np.abs(samples[position:].astype(np.int32))
            return max(largest, int(rest.max()))
        largest = value if value > largest else -value
    return largest


def _auto_scale(call: Call, samples: np.ndarray) -> list[np.ndarray]:
    largest = _largest_magnitude(samples)
    bits = 15 - largest.bit_length() if largest > 0 else 0
    scaled = (samples.astype(np.int32) << bits).astype(np.int16)
    return [scaled, np.array(bits, np.int32)]


def _infer_transform(call: Call) -> list[Spec]:
    dtype = call.check_dtype(0, DType.INT16, DType.INT32, DType.FLOAT32)
    shape = call.check_rank(0, 1, 32)
    length = integers(call, fft_length=(2, _LARGEST))["fft_length"]
    call.check(length % 2 == 0, "the length of the transform is odd", "an even number", f"{length}")
    if call.op == "SignalIrfft":
        call.check(
            shape[-1] == length + 2,
            "the spectrum has the wrong size", str(length + 2), str(shape[-1]),
        )  # fmt: skip
        size = length
    else:
        call.check(
            shape[-1] <= length,
            "there are more samples than the transform takes", f"at most {length}", f"{shape[-1]}",
        )  # fmt: skip
        size = length + 2
    call.session.reserve(
        128 * math.prod(shape[:-1]) * (length + 2), f"{call.place}, its transform"
    )  # fmt: skip
    return [Spec(dtype, (*shape[:-1], size))]


def _rfft(call: Call, samples: np.ndarray) -> np.ndarray:
    """Samples that are missing count as 0."""
    length = integers(call, fft_length=(2, _LARGEST))["fft_length"]
    padded = np.zeros((*samples.shape[:-1], length), samples.dtype)
    padded[..., : samples.shape[-1]] = samples
    return rfft(padded, call.tick)


def _irfft(call: Call, spectrum: np.ndarray) -> np.ndarray:
    return irfft(spectrum, call.tick)


def _infer_energy(call: Call) -> list[Spec]:
    size = _vector(call, 0, DType.INT16)
    bins = size // 2
    wanted = integers(call, start_index=(0, bins), end_index=(0, bins))
    call.check(
        wanted["start_index"] <= wanted["end_index"],
        "the range of bins is empty",
        found=str(wanted),
    )
    return [Spec(DType.UINT32, (bins,))]


def _energy(call: Call, spectrum: np.ndarray) -> np.ndarray:
    bins = spectrum.size // 2
    wanted = integers(call, start_index=(0, bins), end_index=(0, bins))
    z: np.ndarray = spectrum[: 2 * bins].reshape(bins, 2).astype(np.int64)
    chosen = slice(wanted["start_index"], wanted["end_index"])
    result = np.zeros(bins, np.uint32)
    result[chosen] = (z * z).sum(axis=1)[chosen]
    return result


# Filter bank ---------------------------------------------------------------------------------


def _infer_filter_bank(call: Call) -> list[Spec]:
    _vector(call, 0, DType.UINT32)
    channels = integers(call, num_channels=(0, 32767))["num_channels"]
    if _vector(call, 1, DType.INT16) != _vector(call, 2, DType.INT16):
        call.fail("weights and their complements differ in number")
    for i in range(3, 6):
        size = _vector(call, i, DType.INT16)
        if size < channels + 1:
            call.fail(f"input {i} has too few bands", f"{channels + 1}", f"{size}")
    return [Spec(DType.UINT64, (channels,))]


def _filter_bank(
    call: Call, energy: np.ndarray, weights: np.ndarray, complements: np.ndarray,
    starts: np.ndarray, weight_starts: np.ndarray, widths: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Each band rises with its weights and falls with their complements, in the next channel.

    So channel i is the falling side of band i and the rising side of band i + 1.
    """
    channels = integers(call, num_channels=(0, 32767))["num_channels"]
    # Weights are taken as unsigned 64-bit numbers, negative ones wrap.
    rising, falling = (w.astype(np.int64).view(_U64) for w in (weights, complements))
    bins = energy.astype(_U64)
    up, down = np.zeros(channels + 1, _U64), np.zeros(channels + 1, _U64)
    for i in range(channels + 1):
        call.tick()
        first, weight, width = (int(a[i]) for a in (starts, weight_starts, widths))
        width = max(width, 0)
        if width and not (0 <= first <= bins.size - width and 0 <= weight <= rising.size - width):
            call.fail_run(
                f"band {i} lies outside the spectrum or its weights",
                f"within {bins.size} bins and {rising.size} weights",
                f"{width} from bin {first} and weight {weight}",
            )
        part = bins[first : first + width] if width else bins[:0]
        up[i] = (part * rising[weight : weight + width]).sum(dtype=_U64) if width else 0
        down[i] = (part * falling[weight : weight + width]).sum(dtype=_U64) if width else 0
    return np.asarray(up[1:] + down[:-1])


def _infer_square_root(call: Call) -> list[Spec]:
    size = _vector(call, 0, DType.UINT64)
    call.check_dtype(1, DType.INT32)
    call.check(math.prod(call.shape(1)) == 1, "the shift is not one number", "1")
    return [Spec(DType.UINT32, (size,))]


def _rounded_root(number: int) -> int:
    """Nearest integer, but never past 16 bits for a 32-bit number (32 for a 64-bit one)."""
    root = math.isqrt(number)
    limit = 0xFFFF if number < 1 << 32 else 0xFFFFFFFF
    return root + (number - root * root > root and root != limit)


def _square_root(call: Call, sums: np.ndarray, shift: np.ndarray) -> np.ndarray:
    bits = int(shift.item())
    if not 0 <= bits <= 31:
        call.fail_run("the shift is out of range", "0 to 31", str(bits))
    roots = []
    for number in sums.tolist():
        call.tick()
        roots.append(_rounded_root(number) >> bits)
    return np.array(roots, np.uint32)


_SMOOTHING = (
    "smoothing", "one_minus_smoothing", "alternate_smoothing", "alternate_one_minus_smoothing",
    "min_signal_remaining",
)  # fmt: skip


def _subtraction_options(call: Call) -> dict[str, int]:
    return integers(
        call,
        num_channels=(0, 1 << 20),
        smoothing_bits=(0, 31),
        spectral_subtraction_bits=(0, 31),
        clamping=(0, 1),
        **dict.fromkeys(_SMOOTHING, custom_options.INT32),
    )


def _infer_subtraction(call: Call) -> list[Spec]:
    size = _vector(call, 0, DType.UINT32)
    channels = _subtraction_options(call)["num_channels"]
    call.check(size == channels, "the channels differ in number", str(channels), str(size))
    return [Spec(DType.UINT32, (size,))] * 2


def _spectral_subtraction(call: Call, signal: np.ndarray) -> list[np.ndarray]:
    """Odd channels are smoothed with the alternate coefficients. Also returns the new estimate."""
    o = _subtraction_options(call)
    size = signal.size
    noise: np.ndarray = node_state(call, signal.shape, lambda: np.zeros(size, np.uint32))
    odd = np.arange(size) % 2 == 1

    def unsigned(name: str) -> np.ndarray:
        alternate = np.where(odd, o[f"alternate_{name}"], o[name]).astype(np.int64)
        return np.asarray(alternate & 0xFFFFFFFF).astype(_U64)

    bits, up = _U64(o["spectral_subtraction_bits"]), _U64(o["smoothing_bits"])
    wide = signal.astype(_U64)
    scaled = (wide << up) & _U64(0xFFFFFFFF)
    mixed = scaled * unsigned("smoothing") + noise.astype(_U64) * unsigned("one_minus_smoothing")
    estimate = (mixed >> bits) & _U64(0xFFFFFFFF)
    subtracted = np.minimum(estimate, scaled)
    noise[:] = subtracted if o["clamping"] else estimate
    least = _U64(o["min_signal_remaining"] & 0xFFFFFFFF)
    floor = (wide * least >> bits) & _U64(0xFFFFFFFF)
    result = np.maximum((scaled - subtracted) >> up, floor)
    return [result.astype(np.uint32), noise.copy()]


_SNR_BITS, _GAIN_BITS = 12, 6


def _infer_pcan(call: Call) -> list[Spec]:
    size = _vector(call, 0, DType.UINT32)
    if _vector(call, 1, DType.UINT32) != size:
        call.fail("signal and noise differ in number", str(size), str(call.shape(1)[0]))
    call.check(_vector(call, 2, DType.INT16) >= 3, "the table of gains is too short", "3 or more")
    integers(call, snr_shift=(0, 63))
    return [Spec(DType.UINT32, (size,))]


def _bit_length(x: np.ndarray) -> np.ndarray:
    """Bits up to the highest that is set, of numbers below 2^53."""
    return np.asarray(np.frexp(x.astype(np.float64))[1], np.int64)


def _gains(call: Call, noise: np.ndarray, table: np.ndarray) -> np.ndarray:
    """A quadratic on each octave of the noise, in steps of 1/1024; the table has its parts."""
    x = noise.astype(np.int64)
    small = x <= 2
    octave = _bit_length(x)
    place = np.where(small, x, 4 * octave - 6)
    if place.size and int((place + np.where(small, 0, 2)).max()) >= table.size:
        call.fail_run("the noise is past the end of the table of gains", str(table.size))
    part = table.astype(np.int64)
    base = part[place]
    place = np.where(small, 0, place)
    fraction = np.where(octave < 11, x << np.maximum(11 - octave, 0),
                        x >> np.maximum(octave - 11, 0)) & 0x3FF  # fmt: skip
    curve = ((part[place + 2] * fraction) >> 5) + (part[place + 1] << 5)
    curve = (curve * fraction).astype(np.int32).astype(np.int64)
    gain = base + ((curve + (1 << 14)) >> 15)
    return np.where(small, base, gain).astype(np.int16)


def _pcan(call: Call, signal: np.ndarray, noise: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Signal * gain(noise), then x^2 / 4 below 2 and x - 1 above, in fixed point."""
    shift = _U64(integers(call, snr_shift=(0, 63))["snr_shift"])
    gain = _gains(call, noise, table).astype(np.int64) & 0xFFFFFFFF
    ratio = (signal.astype(_U64) * gain.astype(_U64) >> shift) & _U64(0xFFFFFFFF)
    low = ratio * ratio >> _U64(2 + 2 * _SNR_BITS - _GAIN_BITS)
    high = (ratio >> _U64(_SNR_BITS - _GAIN_BITS)) - _U64(1 << _GAIN_BITS)
    return np.where(ratio < _U64(2 << _SNR_BITS), low, high).astype(np.uint32)


# log2(1 + x) - x at each 1/128, in 1/65536, with the slot after the end.
_LOG_TABLE = np.array(
    [round(65536 * (math.log2(1 + i / 128) - i / 128)) for i in range(129)] + [0], np.int64
)
_LN_2 = 45426  # in 1/65536


def _infer_log(call: Call) -> list[Spec]:
    size = _vector(call, 0, DType.UINT32)
    integers(call, input_correction_bits=(0, 31), output_scale=custom_options.INT32)
    return [Spec(DType.INT16, (size,))]


def _log(call: Call, x: np.ndarray) -> np.ndarray:
    """log(x << bits) * scale / 65536 of fixed-point logarithms, at most 32767; 0 for 0 and 1."""
    o = integers(call, input_correction_bits=(0, 31), output_scale=custom_options.INT32)
    scaled = (x.astype(np.int64) << o["input_correction_bits"]) & 0xFFFFFFFF
    large = np.maximum(scaled, 1)
    whole = _bit_length(large) - 1
    rest = large - (np.int64(1) << whole)
    fraction = np.where(whole < 16, rest << np.maximum(16 - whole, 0),
                        rest >> np.maximum(whole - 16, 0))  # fmt: skip
    segment = fraction >> 9
    left, right = _LOG_TABLE[segment], _LOG_TABLE[segment + 1]
    log_2 = (whole << 16) + fraction + left + ((right - left) * (fraction & 511) >> 16)
    log_e = (_LN_2 * log_2 + (1 << 15)) >> 16
    wide = (log_e * (o["output_scale"] & 0xFFFFFFFF) + (1 << 15)) & 0xFFFFFFFF
    return np.where(scaled > 1, np.minimum(wide >> 16, 32767), 0).astype(np.int16)


# name: (rule, meaning, inputs, outputs, whether it keeps no state)
_OPERATORS: dict[str, tuple[Any, Any, int, int, bool]] = {
    "Window": (_infer_window, _window, 2, 1, True),
    "FftAutoScale": (_infer_auto_scale, _auto_scale, 1, 2, True),
    "Rfft": (_infer_transform, _rfft, 1, 1, True),
    "Irfft": (_infer_transform, _irfft, 1, 1, True),
    "Energy": (_infer_energy, _energy, 1, 1, True),
    "FilterBank": (_infer_filter_bank, _filter_bank, 6, 1, True),
    "FilterBankSquareRoot": (_infer_square_root, _square_root, 2, 1, True),
    "FilterBankSpectralSubtraction": (_infer_subtraction, _spectral_subtraction, 1, 2, False),
    "PCAN": (_infer_pcan, _pcan, 3, 1, True),
    "FilterBankLog": (_infer_log, _log, 1, 1, True),
}
for _name, (_rule, _meaning, _inputs, _outputs, _pure) in _OPERATORS.items():
    register(
        f"Signal{_name}", infer=_rule, evaluate=_meaning, inputs=_inputs, outputs=_outputs,
        custom=True, pure=_pure,
    )  # fmt: skip
