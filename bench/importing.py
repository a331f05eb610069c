"""Import one module in a fresh interpreter and print what that took, as JSON.

Run by path and not as part of the package, so that nothing else is imported before.
"""

import os
import sys
import time


def resident() -> int:
    """Return the resident set in bytes."""
    with open("/proc/self/smaps_rollup") as lines:  # noqa: PTH123 - pathlib is what others import
        for line in lines:
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
    raise AssertionError


name, cpu = sys.argv[1:]
if cpu:
    os.sched_setaffinity(0, {int(cpu)})
del sys.path[0]  # this folder
before = resident()
wall, processor = time.perf_counter(), time.process_time()
__import__(name)
wall, processor = time.perf_counter() - wall, time.process_time() - processor
print(f'{{"wall": {wall}, "cpu": {processor}, "memory": {resident() - before}}}')
