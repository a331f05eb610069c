"""The machinery of the tests, and a guide to it: which peer do I use?

========================================  ==========================================================
You want to test …                        Use
========================================  ==========================================================
what bytes mean, in any pieces            the engine: a row in `tests.hostile`, or `ResponseReader`
                                          with bytes of yours, as `tests.hostile.engine` does
an operation, in every style at once      an ``async def`` test with the fixture ``wire`` (plain and
                                          TLS), ``plain`` or ``tls``; `styles` explains it
a coroutine step by step                  a ``def`` test with ``wire`` and `drive`
what a server does on command             `peer.Peer`: a script that moves on while the client waits
exactly which bytes a receive returns     `tests.hostile.arrival.Source`
thousands of connections in a second      `scripted.ScriptedSocket`: bytes, and no system calls
a call of the client's socket             `tapped.Tap`: sees, limits or breaks it, in TCP and TLS
an exception at any point, and forks      `interrupts` and `forked`
a real server                             the fixtures of `servers`: nginx, hyper, uvicorn, proxies
a broken network                          `tests.faults.proxy`: it breaks connections at one byte
many rows that are cheap                  `in_turn.in_turn`: like ``parametrize``, but one test
many tasks in asyncio and trio            `concurrency`, with `piecemeal` as the server
a whole program, also while it ends       `answering` as its server, `tests.ending` as an example
========================================  ==========================================================

`wire` has connections and their peers for a test, `exchanges` what many tests do with them,
`uploads`, `responses` and `pipeline_walk` the same for their subjects. What only one folder needs
is in that folder: `tests.transport.tools`, `tests.session.hooked`, `tests.cli.command`.

A scripted peer is for what no real server does on command. No test sleeps to synchronise: peers
take their steps when the client waits.
"""
