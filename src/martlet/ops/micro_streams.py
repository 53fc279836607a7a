"""Streams of TensorFlow Lite for Microcontrollers: what comes in pieces, cut another way.

    SignalFramer       samples -> overlapping frames
    SignalStacker      frames -> stacks of the last frames
    SignalDelay        samples -> the samples that came some time ago
    SignalOverlapAdd   overlapping frames -> the samples that they add up to

Each keeps what it still needs from run to run. An output that is not complete yet, which the
library leaves as it was, is 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from martlet.dtypes import DType
from martlet.ops import custom_options
from martlet.ops.operator import Call, Shape, Spec, register

_LARGEST = 1 << 24


def integers(call: Call, **ranges: tuple[int, int]) -> dict[str, int]:
    """Integer options, each in its range."""
    found = custom_options.options(call)
    return {
        name: custom_options.integer(call, found, name, low=low, high=high)
        for name, (low, high) in ranges.items()
    }


def node_state(call: Call, shape: Shape, make: Callable[[], Any]) -> Any:
    """What a node keeps between runs; made anew when the shape of its input changes."""
    key = ("state", id(call.node))
    kept = call.session.resources.get(key)
    if kept is None or kept[0] != shape:
        kept = (shape, make())
        call.session.resources[key] = kept
    return kept[1]


def _framer_options(call: Call) -> dict[str, int]:
    o = integers(call, frame_size=(1, _LARGEST), frame_step=(1, _LARGEST), prefill=(0, 1))
    if o["prefill"]:
        call.check(
            o["frame_step"] <= o["frame_size"], "the step is larger than the frame",
            f"at most {o['frame_size']}", str(o["frame_step"]),
        )  # fmt: skip
    return o


def _infer_framer(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.INT16)
    shape = call.check_rank(0, 1, 31)
    o = _framer_options(call)
    step = o["frame_step"]
    call.check(
        shape[-1] >= step and shape[-1] % step == 0,
        "the samples are not whole steps", f"a multiple of {step}", str(shape[-1]),
    )  # fmt: skip
    frames = (*shape[:-1], shape[-1] // step, o["frame_size"])
    return [Spec(DType.INT16, frames), Spec(DType.BOOL, ())]


def _framer(call: Call, samples: np.ndarray) -> list[np.ndarray]:
    """Frames that overlap; false as long as one of them is not complete."""
    o = _framer_options(call)
    size, step = o["frame_size"], o["frame_step"]
    rows = samples.reshape(-1, samples.shape[-1])
    ready = size - step if o["prefill"] else 0
    held = node_state(call, samples.shape, lambda: [np.zeros((len(rows), ready), np.int16)])
    stream = held[0]
    frames = samples.shape[-1] // step
    result = np.zeros((len(rows), frames, size), np.int16)
    valid = True
    for i in range(frames):
        call.tick()
        stream = np.concatenate([stream, rows[:, i * step : (i + 1) * step]], axis=1)
        if stream.shape[1] >= size:
            result[:, i] = stream[:, :size]
            stream = stream[:, step:]
        else:
            valid = False
    held[0] = stream
    return [result.reshape(*samples.shape[:-1], frames, size), np.array(valid)]


def _stacker_options(call: Call) -> tuple[int, int, int, int]:
    """Channels, frames before, frames in all, step (both in frames)."""
    o = integers(
        call,
        num_channels=(1, _LARGEST),
        stacker_left_context=(0, 1 << 15),
        stacker_right_context=(0, 1 << 15),
        stacker_step=(1, 1 << 16),
    )
    frames = o["stacker_left_context"] + o["stacker_right_context"] + 1
    call.check(
        o["stacker_step"] <= frames, "the step is larger than the stack",
        f"at most {frames}", str(o["stacker_step"]),
    )  # fmt: skip
    return o["num_channels"], o["stacker_left_context"], frames, o["stacker_step"]


def _size(call: Call) -> int:
    call.check_dtype(0, DType.INT16)
    return call.check_rank(0, 1)[0]


def _infer_stacker(call: Call) -> list[Spec]:
    size = _size(call)
    channels, _, frames, _ = _stacker_options(call)
    call.check(size == channels, "the channels differ in number", str(channels), str(size))
    return [Spec(DType.INT16, (channels * frames,)), Spec(DType.BOOL, ())]


def _stacker(call: Call, frame: np.ndarray) -> list[np.ndarray]:
    """The last frames, one after the other; the first frame of all also stands for those before."""
    channels, left, frames, step = _stacker_options(call)
    held = node_state(call, frame.shape, lambda: [np.tile(frame, left)])
    stream = np.concatenate([held[0], frame])
    valid = stream.size >= channels * frames
    result = np.zeros(channels * frames, np.int16)
    if valid:
        result[:] = stream[: result.size]
        stream = stream[channels * step :]
    held[0] = stream
    return [result, np.array(valid)]


def _infer_delay(call: Call) -> list[Spec]:
    call.check_dtype(0, DType.INT16)
    shape = call.check_rank(0, 1, 32)
    length = integers(call, delay_length=(0, _LARGEST))["delay_length"]
    call.session.reserve(4 * math.prod(shape[:-1]) * (length + shape[-1]), f"{call.place}, delay")
    return [call.spec(0)]


def _delay(call: Call, samples: np.ndarray) -> np.ndarray:
    """What came so many samples ago; 0 at first."""
    length = integers(call, delay_length=(0, _LARGEST))["delay_length"]
    before = (*samples.shape[:-1], length)
    held = node_state(call, samples.shape, lambda: [np.zeros(before, np.int16)])
    stream = np.concatenate([held[0], samples], axis=-1)
    size = samples.shape[-1]
    held[0] = stream[..., size:]
    return stream[..., :size].copy()


def _infer_overlap_add(call: Call) -> list[Spec]:
    dtype = call.check_dtype(0, DType.INT16, DType.FLOAT32)
    *outer, frames, size = call.check_rank(0, 2, 32)
    step = integers(call, frame_step=(1, max(1, size)))["frame_step"]
    call.check(size > 0, "frames are empty", "at least 1 sample", "0")
    return [Spec(dtype, (*outer, frames * step))]


def _overlap_add(call: Call, frames: np.ndarray) -> np.ndarray:
    """Each frame is added, `frame_step` samples after the one before; int16 sums saturate."""
    *outer, count, size = frames.shape
    step = integers(call, frame_step=(1, size))["frame_step"]
    dtype = frames.dtype
    rows = frames.reshape(math.prod(outer), count, size)
    held = node_state(call, frames.shape, lambda: [np.zeros((len(rows), size), dtype)])
    tail: np.ndarray = held[0]
    result = np.zeros((len(rows), count, step), dtype)
    for i in range(count):
        call.tick()
        if dtype == np.int16:
            total = np.clip(tail.astype(np.int32) + rows[:, i], -32768, 32767).astype(np.int16)
        else:
            total = tail + rows[:, i]
        result[:, i] = total[:, :step]
        tail = np.concatenate([total[:, step:], np.zeros((len(rows), step), dtype)], axis=1)
    held[0] = tail
    return result.reshape(*outer, count * step)


for _name, _rule, _meaning, _outputs in (
    ("SignalFramer", _infer_framer, _framer, 2),
    ("SignalStacker", _infer_stacker, _stacker, 2),
    ("SignalDelay", _infer_delay, _delay, 1),
    ("SignalOverlapAdd", _infer_overlap_add, _overlap_add, 1),
):
    register(
        _name, infer=_rule, evaluate=_meaning, inputs=1, outputs=_outputs, custom=True, pure=False
    )  # fmt: skip
