"""The target for atheris: ``python -m fuzz.fuzz_response [libFuzzer's options] [directories]``."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["dugong"]):
    import dugong

    # What is loaded on demand is loaded now, while imports are instrumented.
    _ = dugong.HTTPConnection("h", proxy="http://p:80")

from fuzz.check import check


def main() -> None:
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
