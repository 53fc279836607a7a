"""Pack the weights that a lowering asks for, in tests: on any target, guard pages around."""

from __future__ import annotations

from functools import cache

import numpy as np

from martlet.kernels.kernel import Kernel
from martlet.kernels.registry import kernels_of
from martlet.kernels.targets import Target
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


@cache
def _kernels(target: Target) -> dict[str, Kernel]:
    return {k.name: k for k in kernels_of(target) if isinstance(k, Kernel)}
