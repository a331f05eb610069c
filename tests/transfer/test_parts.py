"""Parts of a list of URLs: how it is divided, and how processes and a Dask cluster work on it."""

from __future__ import annotations

import itertools
import os
import pickle
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dugong import InvalidRequest
from dugong.transfer import Fetched, Part, fetch_part, partition, run_parts
from tests.support.servers import serving_by_nginx

# ------------------------------------------------------------------------------- partition


@given(
    st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=300),
    st.integers(1, 40),
)
def test_partition(chosen: list[tuple[int, bool]], size: int) -> None:
    """Nothing is lost, and each host keeps its order."""
    urls = [
        f"{'HTTP' if upper else 'http'}://{'user@' if upper else ''}Host{host}/{i}"
        for i, (host, upper) in enumerate(chosen)
    ]
    parts = list(partition(urls, size))
    assert sorted(url for part in parts for url in part.urls) == sorted(urls)
    lane_of: dict[str, frozenset[int]] = {}
    for part in parts:
        assert 0 < len(part.urls) <= size
        for url in part.urls:
            host = url.partition("ost")[2].partition("/")[0]
            lane_of[host] = lane_of.get(host, part.lanes) & part.lanes
    assert all(lane_of.values())  # each host has a lane that all of its parts share
    for host in lane_of:
        mine = [url for part in parts for url in part.urls if f"ost{host}/" in url]
        assert mine == [url for url in urls if f"ost{host}/" in url]


def test_partition_of_an_endless_list() -> None:
    """A part is there as soon as it is full."""
    parts = partition((f"http://host{i % 3}/{i}" for i in itertools.count()), 1000)
    assert [len(part.urls) for part in itertools.islice(parts, 5)] == [1000] * 5


def test_partition_of_anything() -> None:
    urls = ["", "no URL", "http://", "\udcff", "http://\udcff/", "//host/", "http://[::1]:80/"]
    assert sorted(url for part in partition(urls, 3) for url in part.urls) == sorted(urls)


@pytest.mark.parametrize("size", [0, -1, 1.5, "1"])
def test_partition_of_a_wrong_size(size: Any) -> None:
    with pytest.raises((InvalidRequest, TypeError), match="size"):
        partition([], size)


# ------------------------------------------------------------------------------- run_parts


def test_no_two_parts_of_a_lane_at_a_time() -> None:
    """They run in order, and parts of other lanes do not wait for them."""
    chance = random.Random(7)
    parts = [Part([str(i)], frozenset(chance.sample(range(8), 2))) for i in range(300)]
    lock = threading.Lock()
    at_work: set[int] = set()
    most = 0
    begun: list[int] = []

    def work(urls: Sequence[str], settings: Mapping[str, Any]) -> int:
        nonlocal most
        assert settings == {"x": 1}
        number = int(urls[0])
        lanes = parts[number].lanes
        with lock:
            assert not at_work & lanes
            at_work.update(lanes)
            most = max(most, len(at_work))
            begun.append(number)
        other.wait(0.001)
        with lock:
            at_work.difference_update(lanes)
        return number

    other = threading.Event()
    with ThreadPoolExecutor(5) as executor:
        done = list(run_parts(executor, work, parts, {"x": 1}, limit=5))
    assert all(part.urls == [str(result)] for part, result in done)
    assert sorted(result for _, result in done) == list(range(300))
    assert most > 2
    for lane in range(8):
        mine = [number for number in begun if lane in parts[number].lanes]
        assert mine == sorted(mine)


def test_an_error_ends_it() -> None:
    def work(urls: Sequence[str], settings: Mapping[str, Any]) -> None:
        raise ZeroDivisionError(urls[0])

    parts = (Part([str(i)], frozenset({i})) for i in itertools.count())
    with ThreadPoolExecutor(1) as executor, pytest.raises(ZeroDivisionError, match="0"):
        list(run_parts(executor, work, parts))


# ------------------------------------------------------------------------------ fetch_part

HOSTS = [f"127.0.0.{i}" for i in range(1, 21)]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """nginx, at all addresses of this machine, with a page for each number but each tenth."""
    conf = """
        server {{
            listen 0.0.0.0:{ports[0]};
            location ~ ^/[0-9]*0$ {{ return 404 "none"; }}
            location / {{ return 200 "$host$uri"; }}
        }}
    """
    with serving_by_nginx("nginx with numbers", conf) as (server, _):
        yield server.ports[0]


def numbered(port: int, count: int) -> list[str]:
    return [f"http://{HOSTS[i % len(HOSTS)]}:{port}/{i}" for i in range(1, count + 1)]


def again(results: list[Fetched]) -> list[Fetched]:
    """Return *results* as another process gets them."""
    found: list[Fetched] = pickle.loads(pickle.dumps(results))  # noqa: S301 - they are ours
    return found


def check(results: list[Fetched], urls: list[str]) -> None:
    """Each URL has one result, the right one."""
    assert Counter(result.url for result in results) == Counter(urls)
    for result in results:
        host, _, number = result.url.removeprefix("http://").partition("/")
        name = host.partition(":")[0]
        assert result.error is None
        assert result.headers is not None
        if number.endswith("0"):
            assert (result.status, result.body) == (404, b"none")
        else:
            assert (result.status, result.body.decode()) == (200, f"{name}/{number}")


def test_fetch_part(port: int) -> None:
    urls = numbered(port, 200)
    results = fetch_part(urls, {"timeout": 60, "per_host": 3})
    check(results, urls)
    assert [result[:2] for result in again(results)] == [result[:2] for result in results]


def test_fetch_part_with_errors() -> None:
    results = fetch_part(["ftp://host/", "http://a b/"])
    assert [(result.status, result.headers, result.body) for result in results] == [
        (None, None, b"")
    ] * 2
    for result in again(results):
        assert isinstance(result.error, InvalidRequest)
        assert result.error.request.given == result.url  # type: ignore[attr-defined]


@pytest.mark.parametrize("settings", [{"base_url": "http://host/"}, {"max_body": -1}, {"no": 1}])
def test_fetch_part_with_wrong_settings(settings: dict[str, Any]) -> None:
    with pytest.raises((InvalidRequest, TypeError)):
        fetch_part(["http://127.0.0.1:1/"], settings)


def test_in_processes(port: int) -> None:
    urls = numbered(port, 600)
    with ProcessPoolExecutor(2, get_context("spawn")) as executor:
        parts = run_parts(executor, fetch_part, partition(urls, 50), {"timeout": 60})
        check([result for _, results in parts for result in results], urls)


# ------------------------------------------------------------------------------------ Dask


def fetch_or_die(urls: Sequence[str], settings: Mapping[str, Any]) -> list[Fetched]:
    """Fetch a part. The first process that comes to this kills itself after that."""
    settings = dict(settings)
    marker = Path(settings.pop("marker"))
    results = fetch_part(urls, settings)
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return results
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what Dask does is not ours
def test_in_a_cluster(port: int, tmp_path: Path) -> None:
    """A worker of two is killed when it has fetched a part: each URL still has one result."""
    from distributed import Client as Dask
    from distributed import LocalCluster

    urls = numbered(port, 2000)
    settings = {"timeout": 60, "marker": str(tmp_path / "marker")}
    with (
        LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=2, threads_per_worker=1, dashboard_address=None,
            local_directory=str(tmp_path), host="127.0.0.1",
        ) as cluster,
        Dask(cluster) as dask,  # type: ignore[no-untyped-call]
    ):  # fmt: skip
        parts = run_parts(dask.get_executor(), fetch_or_die, partition(urls, 100), settings)
        check([result for _, results in parts for result in results], urls)
    assert (tmp_path / "marker").exists()
