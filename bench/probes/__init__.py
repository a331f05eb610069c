"""What clients do when something is unusual: probes, not measurements.

    make probes                                        all clients; writes results.md and .json
    python -m bench.probes --only dugong http.client   to standard output, with what is installed

`bench.probes.clients` has one class for each client, which does one exchange after another, set up
as its documentation says, with retries off; `bench.probes.table` has the probes: what the server
does, and how the outcome is called. An outcome begins with yes or no. The README's comparison is
made of these, and a test compares the two.
"""
