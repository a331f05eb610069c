"""Fuzzing: bytes that no server should send, chosen by what they reach in dugong's code.

``make fuzz`` runs it for a minute, ``make fuzz SECONDS=3600`` for an hour. `check` holds what must
be true of any input; `fuzz_response` is the target for atheris; `seeds` lists what the corpus
starts from. A run reads ``fuzz/corpus`` and never writes there: what it finds stays in a directory
of its own, whose name it prints when something fails. To keep such a finding for good, fix it, and
copy its file into ``fuzz/corpus`` under a name that describes it: ``tests/test_fuzz_corpus.py``
runs everything there, without atheris.
"""
