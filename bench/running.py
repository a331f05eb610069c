"""Run one command and print what it took, as JSON.

Run by path, and nothing else is imported: until a new process runs its program, its memory is that
of the process which started it, and counts. So this one must be smaller than any that is measured.
"""

import os
import sys
import time

output, *command = sys.argv[1:]
to_output = (os.POSIX_SPAWN_OPEN, 1, output, os.O_WRONLY | os.O_CREAT, 0o600)
wall = time.perf_counter()
pid = os.posix_spawnp(command[0], command, os.environ, file_actions=[to_output])
_, status, used = os.wait4(pid, 0)
wall = time.perf_counter() - wall
processor = used.ru_utime + used.ru_stime
print(f'{{"wall": {wall}, "cpu": {processor}, "memory": {used.ru_maxrss * 1024}}}')
sys.exit(os.waitstatus_to_exitcode(status))
