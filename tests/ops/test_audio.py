"""AudioSpectrogram and Mfcc."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flatbuffers import flexbuffers

from build import const, one_node, run_model
from martlet.dtypes import DType
from martlet.errors import ModelError
from martlet.graph import Model
from oracle import litert

SOUND = np.random.default_rng(0).normal(size=(1000, 2)).astype(np.float32)
MEL = {
    "upper_frequency_limit": 4000,
    "lower_frequency_limit": 20,
    "filterbank_channel_count": 20,
    "dct_coefficient_count": 13,
}


def model(op: str, inputs: list[Any], options: Any) -> tuple[Model, list[np.ndarray]]:
    raw = np.frombuffer(bytes(flexbuffers.Dumps(options)), np.uint8)
    return one_node(op, inputs, outputs=[DType.FLOAT32], custom=True, custom_options=raw)


def spectrogram(x: np.ndarray, size: Any, stride: Any, squared: bool = True) -> np.ndarray:
    options = {"window_size": size, "stride": stride, "magnitude_squared": squared}
    return run_model(*model("AudioSpectrogram", [x], options))[0]


def mfcc(x: np.ndarray, rate: int = 16000, **options: Any) -> np.ndarray:
    return run_model(*model("Mfcc", [x, const(np.int32([rate]))], MEL | options))[0]


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize(("size", "stride"), [(256, 128), (200, 77), (2, 1), (1000, 5)])
def test_spectrograms_are_the_kernel_s(size: int, stride: int, squared: bool) -> None:
    options = {"window_size": size, "stride": stride, "magnitude_squared": squared}
    built = model("AudioSpectrogram", [SOUND], options)
    (found,), (expected,) = run_model(*built), litert(*built)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_sine_stands_in_its_frequency() -> None:
    x = np.sin(2 * np.pi * 8 / 64 * np.arange(640))[:, None].astype(np.float32)
    result = spectrogram(x, 64, 64)
    assert result.shape == (1, 10, 33)
    assert (result.argmax(-1) == 8).all()


def test_sound_shorter_than_a_window_has_no_spectrum() -> None:
    assert spectrogram(SOUND[:10], 16, 4).shape == (2, 0, 9)
    assert spectrogram(SOUND[:0], 16, 4).shape == (2, 0, 9)


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize(("bands", "coefficients"), [(20, 13), (40, 40), (1, 1)])
def test_coefficients_are_the_kernel_s(rate: int, bands: int, coefficients: int) -> None:
    options = MEL | {"filterbank_channel_count": bands, "dct_coefficient_count": coefficients}
    built = model("Mfcc", [spectrogram(SOUND, 256, 128), const(np.int32([rate]))], options)
    (found,), (expected,) = run_model(*built), litert(*built)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_silence_has_the_logarithm_of_the_least_sum() -> None:
    result = mfcc(np.zeros((1, 1, 129), np.float32))
    assert result[0, 0, 0] == pytest.approx(20 * np.sqrt(2 / 20) * np.log(1e-12))
    np.testing.assert_allclose(result[0, 0, 1:], 0, atol=1e-4)


def test_frequencies_that_the_rate_does_not_reach_give_zeros() -> None:
    x = spectrogram(SOUND, 256, 128)
    assert not mfcc(x, 4000).any()


@pytest.mark.parametrize(
    ("size", "stride", "message"),
    [
        (1, 1, "window_size is out of range; expected 2 to"),
        (1 << 40, 1, "window_size is out of range"),
        (16, 0, "stride is out of range"),
        ("wide", 1, "found wide"),
        (float("nan"), 1, "found nan"),
    ],
)
def test_windows_out_of_range_are_refused(size: Any, stride: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        spectrogram(SOUND, size, stride)
    with pytest.raises(ModelError, match="options of AudioSpectrogram are not a map"):
        run_model(*model("AudioSpectrogram", [SOUND], [1, 2]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dct_coefficient_count": 21}, "more coefficients than bands; expected at most 20"),
        ({"upper_frequency_limit": 20}, "the wrong way round"),
        ({"lower_frequency_limit": -1}, "lower_frequency_limit is out of range"),
        ({"filterbank_channel_count": 0}, "filterbank_channel_count is out of range"),
        ({"rate": 0}, "the sample rate must be positive"),
    ],
)
def test_bands_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        mfcc(np.ones((1, 1, 129), np.float32), **options)
