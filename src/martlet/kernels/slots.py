"""Where things are in the records that Python fills in and the executor reads (`executor.py`)."""

SLOTS = 24  # of eight bytes, in a record
KERNEL, BLOCK, UNITS, GRAIN, BESIDE, NEXT, DONE = 0, 1, 2, 3, 4, 8, 16  # of a step
SLOT_FLAG = 8  # of eight bytes, from one thread's flag to the next: a cache line
STEPS, COUNT, THREADS, YIELD, SYSCALL, GENERATION = 0, 1, 2, 3, 4, 8  # of a pool
ACTIVE, SLEEPING, STOPPED, SLEPT_ON = 16, 17, 18, 19  # of a pool
LINK, FORGET, FORGET_BYTES = 5, 6, 7  # of a job (`background.py`)
