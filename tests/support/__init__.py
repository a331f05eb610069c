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
a signal, a line or a call of ours        `interrupts` and `hooked`
a real server                             the fixtures of `servers`: nginx, hyper, uvicorn, proxies
a broken network                          `faults`: a proxy that breaks one connection at one byte
many tasks in asyncio and trio            `concurrency`, with `piecemeal` as the server
a whole program, also while it ends       `answering` as its server, `ending` as an example
========================================  ==========================================================

`wire` has connections and their peers for a test, `exchanges` what many tests do with them,
`uploads`, `digests`, `responses` and `pipeline_walk` the same for their subjects. A scripted peer
is for what no real server does on command. No test sleeps to synchronise: peers take their steps
when the client waits.
"""
