"""Where things are in the records that Python fills in and the executor reads (`executor.py`)."""

SLOTS = 24  # of eight bytes, in a record
KERNEL, BLOCK, UNITS, GRAIN, NEXT, DONE = 0, 1, 2, 3, 8, 16  # of a step
STEPS, COUNT, THREADS, YIELD, SYSCALL, GENERATION = 0, 1, 2, 3, 4, 8  # of a pool
ACTIVE, SLEEPING, STOPPED, SLEPT_ON = 16, 17, 18, 19  # of a pool
LINK, FORGET, FORGET_BYTES = 5, 6, 7  # of a job (`background.py`)
