"""Benchmarks: dugong beside other clients, and beside a bare socket loop, which is the limit.

    make bench                                       everything, five rounds
    make bench ROUNDS=1 SCALE=0.01 CASES=sequential,download/plain

`CASES` takes names of cases or groups (``--list`` has them); `SCALE` makes the work smaller, for
trials. A whole run writes ``docs/performance.md`` and its plot; a trial leaves them alone and
writes to ``.bench/out``.

Where things are:

- `bench.cases`: what is measured, as a table; `bench.targets`: what is wanted of the figures.
- `bench.peers`: the clients, and which work each can do.
- `bench.clients`: one module for each client, with the same few operations in each.
- `bench.work`: the loops around those operations, the same for all. It checks what comes back.
- `bench.child`: the process in which one client does one piece of work, once; `bench.importing` and
  `bench.running`: small ones, to import a client, and to run a command.
- `bench.servers`: nginx; and `bench.source`, which does what nginx cannot be told to do.
- `bench.__main__`: runs all in turn; `bench.report` and `bench.plot` say what came of it.

The environments are made by ``make bench`` in ``.bench/``: one for most clients, one for niquests
(it puts another library in urllib3's place), one for dugong 3.8.
"""
