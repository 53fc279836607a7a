"""What things take on each target, as data: by it plans choose tiles, blocks and algorithms.

`docs/costs.md` has the model that these numbers belong to. The unit of time is a multiply-add of a
whole vector. `benchmarks/tune.py --fit --write` finds those of the processor that it runs on, and
writes them here.
"""

from __future__ import annotations

from martlet.records import NamedTuple


class Costs(NamedTuple):
    """lanes: float32 in a vector. found: on which processor and when, or how estimated."""

    lanes: int
    found: str

    # A tile of sums, and a matrix product (`blocking.py`)
    latency: float  # multiply-adds that must be under way at once
    load: float  # a load from the first-level cache
    load_b: float  # a vector of B, which comes from further away, beside that
    lane_sum: float  # adding up the lanes of a vector
    run: float  # to begin another run of a dot product, in its steps
    pack_along: float  # packing a vector of factors that are computed, as they lie
    pack_across: float  # the same, turned
    cache_part: int  # bytes of a block of A, or of a group of panels of B
    fewest_tiles: int  # in a block, for each of which a panel comes from beyond the cache
    few_rows: int  # at most so many meet a computed B as it is (`lowering/matmul.py`)

    # Sharing it out among threads (`blocking.py`, `lowering/windows.py`)
    smallest_unit: int  # multiply-adds of numbers
    unit: float  # to take a unit
    late: float  # of a unit: how much later a thread may begin than others
    again: float  # to read a vector of B for another unit
    again_a: float  # the same for an element of A
    window_rows: int  # of the output that a unit of windows has
    window_pieces: int  # units for each of several threads; in more, each reads more rows again

    # Strassen (`lowering/strassen.py`)
    strassen_begin: float  # to begin and to store the sums of a direct tile, in steps of the depth
    strassen_begin_one: float  # the same of one of the seven products
    strassen_sums: float  # for a vector of each of S1 to S4
    strassen_far: float  # to read a vector of B, which a block does again, from the third level
    strassen_gain: float  # less than this is not worth the memory for weights
    strassen_cache_part: int  # bytes of S in a block

    # Winograd (`lowering/winograd.py`)
    winograd_sum: float  # to begin and to store a sum, in steps of the depth
    winograd_transform: float  # for a vector of V or M
    winograd_memory: float  # to read a vector of weights from memory
    winograd_gain: float  # less than this is not worth the memory for weights
    winograd_block: int  # rows of the product's tiles in a block
    winograd_deep_block: int  # where weights come from memory again for every block
    winograd_deep_bytes: int  # of weights: from here on they do
    winograd_slot_bytes: int  # of V and M, where there are many blocks anyway


COSTS = {
    "x86-64-avx512": Costs(
        lanes=16,
        found="estimated: Zen 1's, and weights at 25 GB/s beside 60 G multiply-adds a second",
        latency=6,
        load=1.25,
        load_b=0.5,
        lane_sum=5,
        run=0.5,
        pack_along=2.5,
        pack_across=6,
        cache_part=131072,
        fewest_tiles=8,
        few_rows=4,
        smallest_unit=131072,
        unit=200,
        late=0.05,
        again=0.5,
        again_a=0.1,
        window_rows=4,
        window_pieces=4,
        strassen_begin=3,
        strassen_begin_one=9,
        strassen_sums=16,
        strassen_far=1,
        strassen_gain=1.04,
        strassen_cache_part=262144,
        winograd_sum=3,
        winograd_transform=7,
        winograd_memory=10,
        winograd_gain=1.1,
        winograd_block=2,
        winograd_deep_block=3,
        winograd_deep_bytes=4194304,
        winograd_slot_bytes=262144,
    ),
    "x86-64-avx2": Costs(
        lanes=8,
        found="AMD EPYC (family 23, model 1: Zen 1), by hand, 2026-11-25",
        latency=6,
        load=1.25,
        load_b=0.5,
        lane_sum=5,
        run=0.5,
        pack_along=2.5,
        pack_across=6,
        cache_part=131072,
        fewest_tiles=8,
        few_rows=4,
        smallest_unit=131072,
        unit=200,
        late=0.05,
        again=0.5,
        again_a=0.1,
        window_rows=4,
        window_pieces=4,
        strassen_begin=3,
        strassen_begin_one=9,
        strassen_sums=16,
        strassen_far=1,
        strassen_gain=1.04,
        strassen_cache_part=262144,
        winograd_sum=3,
        winograd_transform=7,
        winograd_memory=6,
        winograd_gain=1.1,
        winograd_block=2,
        winograd_deep_block=3,
        winograd_deep_bytes=4194304,
        winograd_slot_bytes=262144,
    ),
    "aarch64-neon": Costs(
        lanes=4,
        found="estimated: Zen 1's, and weights at 10 GB/s beside 20 G multiply-adds a second",
        latency=6,
        load=1.25,
        load_b=0.5,
        lane_sum=5,
        run=0.5,
        pack_along=2.5,
        pack_across=6,
        cache_part=131072,
        fewest_tiles=8,
        few_rows=4,
        smallest_unit=131072,
        unit=200,
        late=0.05,
        again=0.5,
        again_a=0.1,
        window_rows=4,
        window_pieces=4,
        strassen_begin=3,
        strassen_begin_one=9,
        strassen_sums=16,
        strassen_far=1,
        strassen_gain=1.04,
        strassen_cache_part=262144,
        winograd_sum=3,
        winograd_transform=7,
        winograd_memory=8,
        winograd_gain=1.1,
        winograd_block=2,
        winograd_deep_block=3,
        winograd_deep_bytes=4194304,
        winograd_slot_bytes=262144,
    ),
}
