"""Pack the weights that a lowering asks for, in tests: on any target, guard pages around."""

from __future__ import annotations

from functools import cache

import numpy as np

from martlet.kernels.forms import Form
from martlet.kernels.kernel import Kernel
from martlet.kernels.registry import kernels_of
from martlet.kernels.targets import Target
from martlet.kernels.winograd_transforms import matrices
from martlet.plan.packed import Job, Packing
from native import guarded, run_kernel


def pack_all(packing: Packing, target: Target, split: int | None = None) -> None:
    """Do the jobs of a plan; all that they are to make must be written.

    split: how many units each call gets.
    """
    for job in packing.jobs:
        job.target[...] = np.nan
    for job in packing.jobs:
        pack(job, target, split)
    weights = [job.weights for job in packing.jobs]
    if not any(np.isnan(array).any() for array in weights):
        assert not any(np.isnan(job.target).any() for job in packing.jobs)


def pack(job: Job, target: Target, split: int | None = None) -> None:
    """Do a job."""
    weights, packed = guarded(_as_they_lie(job.weights)), guarded(job.target)
    kernel = _kernels(target)[job.kernel]
    run_kernel(kernel, target, weights, packed, *job.numbers, units=job.units, split=split)
    job.target[...] = packed


def _as_they_lie(weights: np.ndarray) -> np.ndarray:
    """The memory from their first element to their last; what is between others is no number."""
    if weights.size == 0:
        return weights.ravel()
    ends = [(n - 1) * stride for n, stride in zip(weights.shape, weights.strides, strict=True)]
    memory = np.full(sum(ends) // weights.itemsize + 1, np.nan, weights.dtype)
    np.lib.stride_tricks.as_strided(memory, weights.shape, weights.strides)[...] = weights
    return memory


def transformed(form: Form, weights: np.ndarray, width: int) -> np.ndarray:
    """(channels, height, width, depth) -> U, (panels, positions, depth, panel width), float64."""
    down, across = (np.array(matrices(along)[1], np.float64) for along in form)
    channels, *window = weights.shape
    whole = np.zeros((-(-channels // width), width, *window))
    whole.reshape(-1, *window)[:channels] = weights
    u = np.einsum("pv,icvhd->icphd", down, whole)
    u = np.einsum("qh,icphd->ipqdc", across, u)
    return u.reshape(len(u), form.positions, -1, width)


@cache
def _kernels(target: Target) -> dict[str, Kernel]:
    return {k.name: k for k in kernels_of(target) if isinstance(k, Kernel)}
