"""The audio front end of TensorFlow Lite for Microcontrollers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import const, one_node, run
from custom_node import flexbuffer
from martlet.dtypes import DType
from martlet.errors import ModelError, RunError
from martlet.ops.operator import Spec
from martlet.runtime.session import Session

I16, U32, U64 = np.int16, np.uint32, np.uint64
CUSTOM = {"custom": True}


def signal(name, inputs, *outputs, **options):
    node = flexbuffer(**options) if options else CUSTOM
    return run(f"Signal{name}", inputs, outputs=list(outputs) or None, **node)


def test_a_window_is_applied_to_each_frame_and_saturates():
    window = const(I16([4096, -32768, 32767]))
    result = signal("Window", [I16([[1000, 2, 3], [-1000, -32768, -1]]), window], shift=12)
    assert result.tolist() == [[1000, -16, 23], [-1000, 32767, -8]]


def test_the_window_must_divide_the_samples():
    with pytest.raises(ModelError, match="does not divide the samples; expected a divisor of 4"):
        signal("Window", [I16([1, 2, 3, 4]), const(I16([1, 2, 3]))], shift=0)


@pytest.mark.parametrize(
    ("samples", "bits"),
    [
        ([1, -2, 3], 13),
        ([32767, 0], 0),
        ([0, 0], 0),
        ([-32768, 0], 0),
        # 32768 is no int16: after it the search for the largest begins again, below all others.
        ([9999, -32768, 1, 2], 13),
        ([-32768, -7], 0),
    ],
)
def test_samples_are_shifted_as_far_up_as_the_largest_fits(samples, bits):
    scaled, shift = signal("FftAutoScale", [I16(samples)], DType.INT16, DType.INT32)
    assert shift == bits
    assert scaled.tolist() == (np.int32(samples) << bits).astype(I16).tolist()


def test_a_transform_pads_with_zeros_and_works_along_rows():
    x = I16([[400, 0, -400], [100, 100, 100]])
    short = signal("Rfft", [x], fft_length=4, T=7)
    padded = signal("Rfft", [np.pad(x, ((0, 0), (0, 1)))], fft_length=4, T=7)
    assert short.shape == (2, 6)
    np.testing.assert_array_equal(short, padded)


def test_transforms_check_their_length():
    with pytest.raises(ModelError, match="is odd"):
        signal("Rfft", [I16([1])], fft_length=3)
    with pytest.raises(ModelError, match="more samples than the transform takes"):
        signal("Rfft", [I16([1, 2, 3])], fft_length=2)
    with pytest.raises(ModelError, match="wrong size; expected 6, found 4"):
        signal("Irfft", [I16([1, 2, 3, 4])], fft_length=4)


def test_an_inverse_transform_of_a_constant_spectrum_is_a_pulse():
    spectrum = np.tile(np.float32([1, 0]), 5)
    result = signal("Irfft", [spectrum], fft_length=8, T=0)
    np.testing.assert_allclose(result, [1, 0, 0, 0, 0, 0, 0, 0], atol=1e-6)


def test_energy_of_the_bins_that_are_asked_for():
    spectrum = I16([1, 2, 3, 4, -32768, -32768, 5, 6])
    result = signal("Energy", [spectrum], DType.UINT32, start_index=1, end_index=3)
    assert result.tolist() == [0, 25, 1 << 31, 0]


def filter_bank(energy, starts=(0, 2, 3), widths=(2, 1, 1)):
    weights = [const(I16(w)) for w in ([1, 2, 3, 4], [10, 20, 30, 40])]
    bands = [const(I16(b)) for b in (starts, (0, 2, 3), widths)]
    return signal("FilterBank", [U32(energy), *weights, *bands], DType.UINT64, num_channels=2)


def test_a_channel_is_the_falling_side_of_one_band_and_the_rising_side_of_the_next():
    assert filter_bank([1, 1, 1, 1]).tolist() == [30 + 3, 30 + 4]


def test_bands_must_lie_in_the_spectrum():
    with pytest.raises(RunError, match="band 1 lies outside"):
        filter_bank([1, 1, 1, 1], starts=(0, 4, 3))
    with pytest.raises(RunError, match="band 2 lies outside"):
        filter_bank([1, 1, 1, 1], widths=(2, 1, 9))


def root(values, shift=0):
    inputs = [U64(values), np.array(shift, np.int32)]
    return signal("FilterBankSquareRoot", inputs, DType.UINT32).tolist()


def test_roots_are_rounded_but_keep_to_their_words():
    assert root([0, 2, 3, 6, 7, 1 << 40]) == [0, 1, 2, 2, 3, 1 << 20]
    assert root([(1 << 32) - 1, 1 << 32, (1 << 64) - 1]) == [0xFFFF, 1 << 16, (1 << 32) - 1]
    assert root([10000], shift=3) == [12]


def test_a_shift_of_the_whole_word_is_refused():
    with pytest.raises(RunError, match="shift is out of range; expected 0 to 31, found 32"):
        root([1], shift=32)


@settings(deadline=None)
@given(st.integers(0, (1 << 64) - 1))
def test_a_root_is_off_by_a_half_at_most(number):
    (r,) = root([number])
    assert abs(r * r - number) <= r or r in (0xFFFF, 0xFFFFFFFF)


SUBTRACTION = {
    "num_channels": 2, "smoothing": 1 << 13, "one_minus_smoothing": 1 << 13,
    "alternate_smoothing": 1 << 14, "alternate_one_minus_smoothing": 0,
    "min_signal_remaining": 1 << 12, "smoothing_bits": 4, "spectral_subtraction_bits": 14,
    "clamping": 0,
}  # fmt: skip


def test_the_noise_is_learnt_from_run_to_run_with_two_coefficients():
    node = flexbuffer(**SUBTRACTION)
    model, _ = one_node(
        "SignalFilterBankSpectralSubtraction", [U32([0, 0])], outputs=[DType.UINT32] * 2, **node
    )
    session = Session(model)
    plan = session.plan(0, [Spec(DType.UINT32, (2,))])
    # Even channels: half of the signal and half of the estimate before. Odd: the signal itself.
    signal_1, noise_1 = session.run(plan, [U32([100, 100])])
    assert noise_1.tolist() == [800, 1600]
    assert signal_1.tolist() == [50, 25]  # a quarter remains at least
    signal_2, noise_2 = session.run(plan, [U32([100, 100])])
    assert noise_2.tolist() == [1200, 1600]
    assert signal_2.tolist() == [25, 25]


def pcan(x, noise, table, shift=0):
    inputs = [U32(x), U32(noise), const(I16(table))]
    return signal("PCAN", inputs, DType.UINT32, snr_shift=shift).tolist()


def test_gain_and_shrinking():
    # A gain of 4096 is 1 after the division by 2^12: x^2 / 4 below 2, x - 1 above, with 6 bits.
    table = [4096, 4096, 4096] + [0] * 125
    assert pcan([1, 2, 3, 100], [0, 1, 2, 0], table) == [16, 64, 128, 99 * 64]


def test_noise_past_the_table_is_refused():
    with pytest.raises(RunError, match="past the end of the table"):
        pcan([1], [1 << 20], [1] * 10)


def test_logarithms_in_fixed_point():
    x = U32([0, 1, 2, 10, 1000, 1 << 20, 1 << 29])
    result = signal("FilterBankLog", [x], DType.INT16, input_correction_bits=0, output_scale=1600)
    expected = np.where(x > 1, np.log(np.maximum(x, 1).astype(float)) * 1600, 0)
    np.testing.assert_allclose(result, expected, atol=2)


def test_logarithms_saturate_and_shifts_wrap():
    x = U32([1 << 31, 3])
    result = signal(
        "FilterBankLog", [x], DType.INT16, input_correction_bits=1, output_scale=1 << 14
    )
    assert result.tolist() == [0, 29356]


def test_options_are_checked():
    with pytest.raises(ModelError, match="input_correction_bits is out of range"):
        signal("FilterBankLog", [U32([1])], DType.INT16, input_correction_bits=32)
