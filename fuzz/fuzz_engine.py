"""The target for atheris: ``python -m fuzz.fuzz_engine [libFuzzer's options] [directories]``."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["dugong"]):
    from fuzz.check_engine import check_quickly


def main() -> None:
    atheris.Setup(sys.argv, check_quickly)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
