"""AudioSpectrogram and Mfcc: custom operators that turn sound into features for recognition.

AudioSpectrogram cuts each channel into windows, weights them with a periodic Hann window, pads
them to a power of two and gives the magnitude (or its square) of each frequency.

Mfcc (mel-frequency cepstral coefficients) takes such squared magnitudes, adds up the magnitudes
under triangles that are equally wide on the mel scale, and gives the first coefficients of the
cosine transform of their logarithms.

Both compute in double precision. Their options are FlexBuffers maps.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from martlet.dtypes import DType
from martlet.ops.operator import Call, Spec, register
from martlet.schema.flexbuffer import decode

LARGEST = 1 << 24  # of any size in the options
CHUNK = 1 << 20  # samples that are transformed at a time
SMALLEST_SUM = 1e-12  # what a triangle holds at least, before the logarithm


def _options(call: Call) -> dict[str, Any]:
    raw = call.node.custom_options
    options = {} if raw is None or raw.size == 0 else decode(raw.tobytes(), call.place)
    if not isinstance(options, dict):
        call.fail(f"the options of {call.op} are not a map")
    return options


def _whole(call: Call, options: dict[str, Any], name: str, low: int) -> int:
    """An option that is a whole number in a sensible range; fractions are cut off."""
    value = options.get(name, 0)
    if not isinstance(value, (int, float)) or not low <= value <= LARGEST:
        call.fail(f"{name} is out of range", f"{low} to {LARGEST}", str(value)[:40])
    return int(value)


# AudioSpectrogram -----------------------------------------------------------------------------


def _window(call: Call) -> tuple[int, int, int]:
    """Samples in a window, samples from one window to the next, length of the transform."""
    options = _options(call)
    size, stride = _whole(call, options, "window_size", 2), _whole(call, options, "stride", 1)
    return size, stride, 1 << (size - 1).bit_length()


def _infer_spectrogram(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.FLOAT32)
    samples, channels = call.check_rank(0, 2)
    size, stride, length = _window(call)
    windows = 1 + (samples - size) // stride if samples >= size else 0
    return [Spec(DType.FLOAT32, (channels, windows, length // 2 + 1))]


def _spectrogram(call: Call, x: np.ndarray) -> np.ndarray:
    size, stride, length = _window(call)
    (spec,) = _infer_spectrogram(call)
    assert spec.shape is not None
    result = np.zeros(spec.shape, np.float32)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    at_a_time = max(1, CHUNK // length)
    for channel, rows in enumerate(result):
        if rows.size == 0:
            continue
        windows = np.lib.stride_tricks.sliding_window_view(x[:, channel], size)[::stride]
        for start in range(0, len(rows), at_a_time):
            call.tick()
            part = windows[start : start + at_a_time].astype(np.float64)
            spectrum = np.fft.rfft(part * hann, length)
            rows[start : start + at_a_time] = spectrum.real**2 + spectrum.imag**2
    return result if _options(call).get("magnitude_squared") else np.sqrt(result)


# Mfcc -----------------------------------------------------------------------------------------


def _infer_mfcc(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.FLOAT32)
    call.check_dtype(1, DType.INT32)
    channels, windows, bins = call.check_rank(0, 3)
    call.check(math.prod(call.shape(1)) == 1, "input 1 must be one sample rate", "1 element")
    call.check(bins >= 2, "a spectrum has too few frequencies", "2", str(bins))
    low, high, bands, coefficients = _mel_options(call)
    call.check(high > low, "the frequency limits are the wrong way round", found=f"{low}, {high}")
    call.check(
        coefficients <= bands,
        "there are more coefficients than bands",
        f"at most {bands}",
        str(coefficients),
    )
    rate = call.value(1)
    if rate is not None:
        call.check(int(rate.ravel()[0]) > 0, "the sample rate must be positive", found=str(rate))
    # The triangles, the magnitudes, their sums and logarithms, all in double precision.
    elements = bands * (bins + coefficients) + channels * windows * (bins + 2 * bands)
    call.session.reserve(8 * elements, call.place)
    return [Spec(DType.FLOAT32, (channels, windows, coefficients))]


def _mel_options(call: Call) -> tuple[int, int, int, int]:
    """Lower and upper frequency, bands, coefficients."""
    options = _options(call)
    return (
        _whole(call, options, "lower_frequency_limit", 0),
        _whole(call, options, "upper_frequency_limit", 0),
        _whole(call, options, "filterbank_channel_count", 1),
        _whole(call, options, "dct_coefficient_count", 1),
    )


def _mel(frequency: np.ndarray | float) -> np.ndarray:
    return np.asarray(1127.0 * np.log1p(np.asarray(frequency) / 700.0))


def _triangles(bins: int, rate: int, low: int, high: int, bands: int) -> np.ndarray | None:
    """How much each frequency counts in each band: (bins, bands). None: `high` lies beyond them.

    Peaks and ends of the triangles are `bands + 2` points, equally spaced on the mel scale. The
    frequency 0 never counts.
    """
    spacing = 0.5 * rate / (bins - 1)
    first, last = int(1.5 + low / spacing), int(high / spacing)
    if last >= bins:
        return None
    points = np.linspace(float(_mel(low)), float(_mel(high)), bands + 2)
    used = np.arange(first, last + 1)
    mel = _mel(used * spacing)
    # Between points[i] and points[i + 1] band i - 1 falls and band i rises.
    i = np.searchsorted(points[1:-1], mel, side="left")
    falling = (points[i + 1] - mel) / (points[i + 1] - points[i])
    result = np.zeros((bins, bands + 2))
    result[used, i] = falling
    result[used, i + 1] = 1 - falling
    return result[:, 1:-1]


def _mfcc(call: Call, spectrum: np.ndarray, rate: np.ndarray) -> np.ndarray:
    low, high, bands, coefficients = _mel_options(call)
    hertz = int(rate.ravel()[0])
    if hertz <= 0:
        call.fail_run("the sample rate must be positive", found=str(hertz))
    triangles = _triangles(spectrum.shape[2], hertz, low, high, bands)
    if triangles is None:
        # TensorFlow Lite gives zeros where the upper limit is above half of the sample rate.
        return np.zeros((*spectrum.shape[:2], coefficients), np.float32)
    sums = np.sqrt(spectrum.astype(np.float64)) @ triangles
    logarithms = np.log(np.where(sums < SMALLEST_SUM, SMALLEST_SUM, sums))
    angles = np.outer(np.arange(bands) + 0.5, np.arange(coefficients)) * np.pi / bands
    return np.asarray(logarithms @ (np.sqrt(2 / bands) * np.cos(angles)), np.float32)


register("AudioSpectrogram", infer=_infer_spectrogram, evaluate=_spectrogram, inputs=1, custom=True)
register("Mfcc", infer=_infer_mfcc, evaluate=_mfcc, inputs=2, custom=True)
