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
    """Do the jobs of a plan."""
    for job in packing.jobs:
        pack(job, target, split)


def pack(job: Job, target: Target, split: int | None = None) -> None:
    """Do a job; all of its target must be written. split: how many units each call gets."""
    in_order = np.argsort([-n for n in job.weights.strides], kind="stable")
    weights = guarded(job.weights.transpose(in_order))  # as they lie in memory
    packed = guarded(np.full_like(job.target, np.nan))
    kernel = _kernels(target)[job.kernel]
    run_kernel(kernel, target, weights, packed, *job.numbers, units=job.units, split=split)
    assert np.isnan(job.weights).any() or not np.isnan(packed).any()
    job.target[...] = packed


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
