"""Fetch a list of URLs on several machines, with Dask.

    python examples/dask_fetch.py local|ADDRESS FILE

FILE has a URL in each line. ADDRESS is that of a Dask scheduler, such as tcp://10.0.0.1:8786;
``local`` starts two workers on this machine. The extra `dask` installs what this needs.
"""

from __future__ import annotations

import sys
from pathlib import Path

from distributed import Client, LocalCluster

from dugong.transfer import fetch_part, partition, run_parts


def main(address: str, file: Path) -> None:
    cluster = LocalCluster(n_workers=2, dashboard_address=None) if address == "local" else address
    with Client(cluster) as dask, file.open() as lines:
        parts = partition((line.strip() for line in lines), 1000)
        settings = {"timeout": 30, "max_body": 1 << 20}
        for _, results in run_parts(dask.get_executor(), fetch_part, parts, settings, limit=8):
            for result in results:
                print(result.status or result.error, len(result.body), result.url)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: dask_fetch.py local|ADDRESS FILE")
    main(sys.argv[1], Path(sys.argv[2]))
