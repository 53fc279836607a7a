"""Packed weights: made once for each file in a process, shared by all its plans.

Plans for other shapes or numbers of threads and further interpreters of the same file hold the
same arrays. They live as long as one plan needs them. The weights as the file has them are not
needed once they are packed, so the system may take their memory back.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from weakref import WeakValueDictionary

import numpy as np

from martlet.schema.file import forget, place_of

_known: WeakValueDictionary[Hashable, np.ndarray] = WeakValueDictionary()


def packed(weights: np.ndarray, layout: Hashable, make: Callable[[], np.ndarray]) -> np.ndarray:
    """What `make` makes of weights, a view of a file's bytes: the same array for the same part
    of the same file in the same layout."""
    place = place_of(weights)
    if place is None:
        return make()
    key = (place, weights.shape, weights.strides, layout)
    found = _known.get(key)
    if found is None:
        found = _known.setdefault(key, make())
    if weights.flags.c_contiguous:
        forget(weights)
    return found
