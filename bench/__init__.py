"""Benchmarks: dugong compared with other clients, and with a bare socket loop, the limit.

    make bench                                       everything, five rounds
    make bench ROUNDS=1 SCALE=0.01 CASES=sequential,download/plain

`CASES` takes names of cases or groups (see ``--list``). `SCALE` reduces the work, for trials. A
whole run writes the pages about performance in ``docs/``. A trial writes to ``.bench/out`` only.

Modules:

- `bench.cases`: the cases, as a table; `bench.targets`: bounds for the figures; `bench.questions`:
  the tables of the documentation.
- `bench.peers`: the clients, and the cases that each supports.
- `bench.clients`: one module for each client, with the same few operations in each.
- `bench.work`: the loops around those operations, the same for all. They check all responses.
- `bench.child`: the process in which one client does one piece of work, once; `bench.importing` and
  `bench.running`: small ones, to import a client, and to run a command.
- `bench.servers`: nginx, and `bench.source` for what nginx cannot do.
- `bench.__main__`: runs everything; `bench.report` and `bench.plot` show the results.

The environments are made by ``make bench`` in ``.bench/``: one for most clients, one for niquests
(it replaces urllib3), one for dugong 3.8.
"""
