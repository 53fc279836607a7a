"""Streams that keep state from run to run."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import one_node
from custom_node import flexbuffer
from martlet.dtypes import DType
from martlet.errors import ModelError
from martlet.ops.operator import Spec
from martlet.runtime.session import Session

INT16, BOOL = DType.INT16, DType.BOOL


class Stream:
    """A node that is run again and again."""

    def __init__(self, name, like, outputs=(INT16,), **options):
        model, _ = one_node(f"Signal{name}", [like], outputs=list(outputs), **flexbuffer(**options))
        self.session = Session(model)

    def __call__(self, x):
        plan = self.session.plan(0, [Spec(DType.of(x), x.shape)])
        results = self.session.run(plan, [x])
        return results[0] if len(results) == 1 else results


def framer(like, size, step, prefill):
    options = {"frame_size": size, "frame_step": step, "prefill": prefill}
    return Stream("Framer", like, (INT16, BOOL), **options)


def test_frames_overlap_and_the_first_are_not_valid():
    x = np.arange(1, 5, dtype=np.int16)
    stream = framer(x, 3, 2, 0)
    frames, valid = stream(x)
    assert (frames.tolist(), bool(valid)) == ([[0, 0, 0], [1, 2, 3]], False)
    frames, valid = stream(x + 4)
    assert (frames.tolist(), bool(valid)) == ([[3, 4, 5], [5, 6, 7]], True)


def test_a_prefilled_framer_begins_with_zeros():
    x = np.int16([[1, 2], [3, 4]])
    frames, valid = framer(x, 3, 2, 1)(x)
    assert (frames.tolist(), bool(valid)) == ([[[0, 1, 2]], [[0, 3, 4]]], True)


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4))
def test_frames_are_windows_of_the_stream(size, step, steps):
    x = np.arange(1, steps * step + 1, dtype=np.int16)
    stream = framer(x, size, step, 0)
    frames = np.concatenate([stream(x + i * x.size)[0] for i in range(3)])
    full = np.arange(1, 3 * x.size + 1)
    valid = frames[frames.any(axis=1)]
    for i, frame in enumerate(valid):
        np.testing.assert_array_equal(frame, full[i * step : i * step + size])


def test_the_samples_must_be_whole_steps():
    x = np.zeros(5, np.int16)
    with pytest.raises(ModelError, match="not whole steps; expected a multiple of 2, found 5"):
        framer(x, 3, 2, 0)(x)


def stacker(like, **options):
    settings = {"num_channels": 1, "stacker_left_context": 1, "stacker_right_context": 1,
                "stacker_step": 2} | options  # fmt: skip
    return Stream("Stacker", like, (INT16, BOOL), **settings)


def test_frames_are_stacked_and_the_first_stands_for_those_before():
    stream = stacker(np.int16([0]))
    results = [stream(np.int16([n])) for n in range(1, 7)]
    assert [bool(valid) for _, valid in results] == [False, True, False, True, False, True]
    assert results[1][0].tolist() == [1, 1, 2]
    assert results[3][0].tolist() == [2, 3, 4]
    assert results[5][0].tolist() == [4, 5, 6]


def test_a_step_past_the_stack_is_refused():
    with pytest.raises(ModelError, match="larger than the stack; expected at most 3, found 4"):
        stacker(np.int16([0]), stacker_step=4)(np.int16([0]))


def test_samples_come_late():
    x = np.arange(1, 4, dtype=np.int16)
    stream = Stream("Delay", x, delay_length=4)
    assert [stream(x + 3 * i).tolist() for i in range(3)] == [[0, 0, 0], [0, 1, 2], [3, 4, 5]]


def test_a_new_shape_begins_anew():
    stream = Stream("Delay", np.zeros(2, np.int16), delay_length=1)
    stream(np.int16([1, 2]))
    assert stream(np.int16([3, 4, 5])).tolist() == [0, 3, 4]


def test_resetting_the_variables_resets_streams_too():
    stream = Stream("Delay", np.zeros(2, np.int16), delay_length=2)
    stream(np.int16([1, 2]))
    stream.session.reset_variables()
    assert stream(np.int16([3, 4])).tolist() == [0, 0]


def test_overlapping_frames_add_up_and_int16_saturates():
    frames = np.int16([[[1, 2, 3], [4, 5, 6]]])
    stream = Stream("OverlapAdd", frames, frame_step=2)
    assert stream(frames).tolist() == [[1, 2, 3 + 4, 5]]
    assert stream(np.full_like(frames, 32767)).tolist() == [[32767, 32767, 32767, 32767]]


def test_float_frames_add_up_too():
    frames = np.float32([[0.5, 0.25]])
    stream = Stream("OverlapAdd", frames, (DType.FLOAT32,), frame_step=1)
    assert stream(frames).tolist() == [0.5]
    assert stream(frames).tolist() == [0.75]


def test_no_frames_add_up_to_nothing():
    frames = np.zeros((0, 2, 3), np.int16)
    assert Stream("OverlapAdd", frames, frame_step=2)(frames).shape == (0, 4)
