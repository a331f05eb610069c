"""The picture that `dugong time --svg` draws."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from dugong.cli.measure import PHASES, Exchange
from dugong.cli.waterfall import saving, waterfall
from tests.cli.command import Listener, ended, head, run, start
from tests.cli.exchanges import ANSWERED, CONNECTING, exchange
from tests.support.servers import Endpoint

NS = "{http://www.w3.org/2000/svg}"

#: Coordinates are rounded to this.
ABOUT = 0.002

#: Of a character, as wide as the widest of the fonts that may be there; its height.
WIDTH, HEIGHT = 8, 14


@dataclass(frozen=True)
class Rect:
    kind: str
    x: float
    y: float
    width: float
    height: float

    @classmethod
    def of(cls, element: ET.Element) -> Rect:
        x, y, width, height = (
            float(element.get(name, "")) for name in ("x", "y", "width", "height")
        )
        return cls(element.get("class", ""), x, y, width, height)

    @property
    def right(self) -> float:
        return self.x + self.width

    def overlaps(self, other: Rect) -> bool:
        return (
            self.x + ABOUT < other.right
            and other.x + ABOUT < self.right
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


class Picture:
    """A picture, taken apart.

    Attributes:
        halves: for each half of it the bars of each row.
    """

    def __init__(self, data: bytes) -> None:
        self.root = ET.fromstring(data)  # noqa: S314 - of our own making
        assert self.root.tag == f"{NS}svg"
        self.width, self.height = (float(self.root.get(name, "")) for name in ("width", "height"))
        self.halves: list[list[list[Rect]]] = []
        for half in self.root.iterfind(f"{NS}g[@class='half']"):
            rows = half.findall(f"{NS}g[@class='row']")
            self.halves.append(
                [[Rect.of(one) for one in row.iterfind(f"{NS}rect")] for row in rows]
            )

    def texts(self, kind: str) -> list[str]:
        return [text.text or "" for text in self.root.iterfind(f".//{NS}text[@class='{kind}']")]

    def check(self) -> None:
        """Check what holds for all pictures."""
        bars = [bar for half in self.halves for row in half for bar in row]
        for one, other in itertools.combinations(bars, 2):
            assert not one.overlaps(other), (one, other)
        for half in self.halves:
            for row in half:
                kinds = [bar.kind for bar in row]
                order = [phase.lower() for phase in PHASES]
                assert kinds == sorted(kinds, key=order.index)
                assert len({bar.y for bar in row}) == 1
                for left, right in itertools.pairwise(row):
                    assert right.x == pytest.approx(left.right, abs=ABOUT)
            tops = [row[0].y for row in half]
            assert tops == sorted(set(tops))
            first_byte = 0.0
            for row in half:  # one connection: one response at a time, in order
                transfer = row[-1]
                assert transfer.kind == "transfer"
                assert transfer.x >= first_byte - ABOUT
                first_byte = transfer.right
        boxes = [self.box(text) for text in self.root.iterfind(f".//{NS}text")]
        for box in [*boxes, *bars]:
            assert box.x >= 0
            assert box.right <= self.width
            assert box.y >= 0
            assert box.y + box.height <= self.height
        for one, other in itertools.combinations(boxes, 2):
            assert not one.overlaps(other), (one, other)
        for box, bar in itertools.product(boxes, bars):
            assert not box.overlaps(bar), (box, bar)

    def box(self, text: ET.Element) -> Rect:
        """Return where a text stands."""
        kind = text.get("class", "")
        x, y = float(text.get("x", "")), float(text.get("y", ""))
        width = len(text.text or "") * WIDTH * (0.75 if kind in ("label", "tick") else 1)
        left = {"label": x - width, "tick": x - width / 2}.get(kind, x)
        return Rect(kind, left, y - HEIGHT + 3, width, HEIGHT)


def series(*targets: str) -> list[Exchange]:
    """Return exchanges one after the other: 84 ms for the first one, 14 for each other."""
    first = exchange(targets[0], took={**CONNECTING, **ANSWERED})
    rest = [exchange(t, 84 + 14 * n, took=ANSWERED) for n, t in enumerate(targets[1:])]
    return [first, *rest]


def pipelined(*targets: str) -> list[Exchange]:
    """Return exchanges of which all were sent when the connection was there."""
    first = exchange(targets[0], took={**CONNECTING, **ANSWERED})
    rest = []
    for n, target in enumerate(targets[1:], 1):
        took = {"sending": 1, "waiting": 13 + 2 * (n - 1), "transfer": 2}
        rest.append(exchange(target, 70, took=took))
    return [first, *rest]


TARGETS = ["/a", "/b", "/c", "/d", "/e"]


def test_geometry() -> None:
    picture = Picture(waterfall(series(*TARGETS), pipelined(*TARGETS)))
    picture.check()
    upper, lower = picture.halves
    assert len(upper) == len(lower) == 5
    scale = upper[0][1].width / 20  # of a millisecond; "connecting" took 20
    begin = upper[0][0].x
    assert [bar.width / scale for bar in upper[0]] == pytest.approx([10, 20, 40, 1, 8, 5], abs=0.01)
    assert [bar.kind for bar in upper[0]] == [phase.lower() for phase in PHASES]
    assert [bar.width / scale for bar in upper[3]] == pytest.approx([1, 8, 5], abs=0.01)
    assert [(row[0].x - begin) / scale for row in upper] == pytest.approx(
        [0, 84, 98, 112, 126], abs=0.01
    )
    # The other half has the same scale, and begins at the same place.
    assert lower[0][0].x == begin
    assert [bar.width / scale for bar in lower[0]] == pytest.approx([10, 20, 40, 1, 8, 5], abs=0.01)
    assert [(row[0].x - begin) / scale for row in lower] == pytest.approx(
        [0, 70, 70, 70, 70], abs=0.01
    )
    assert min(row[0].y for row in lower) > max(row[0].y for row in upper)


def test_words() -> None:
    picture = Picture(waterfall(series(*TARGETS), pipelined(*TARGETS)))
    assert picture.texts("title") == ["5 URLs from https://example.org:8443"]
    assert picture.texts("heading") == ["One after the other: 140.0 ms", "Pipelined: 92.0 ms"]
    words = "Pipelining has saved 48.0 ms of 140.0 ms, 34 %: it was 1.5 times as fast."
    assert picture.texts("saving") == [words]
    assert picture.texts("label") == TARGETS * 2
    assert picture.texts("legend") == [*PHASES]
    durations = ["84.0 ms", *["14.0 ms"] * 4]
    assert picture.texts("duration")[:5] == durations
    titles = [title.text for title in picture.root.iterfind(f".//{NS}g[@class='row']/{NS}title")]
    assert titles[1] == "/b: sending 1.00 ms, waiting 8.00 ms, transfer 5.00 ms"
    for name in ("title", "desc"):
        assert picture.root.findtext(NS + name)


def test_one_document() -> None:
    picture = Picture(waterfall(series("/a"), []))
    picture.check()
    assert len(picture.halves) == 1
    assert picture.texts("title") == ["1 URL from https://example.org:8443"]
    assert picture.texts("saving") == []


def test_only_what_there_is_is_in_the_legend() -> None:
    one = exchange(took={"connecting": 1, **ANSWERED}, server="http://localhost")
    picture = Picture(waterfall([one], []))
    assert picture.texts("legend") == ["connecting", "sending", "waiting", "transfer"]


def test_what_a_url_may_bring_along() -> None:
    """Markup, what XML cannot have, and more than fits."""
    targets = ["/<script>&\"'", "/a?b=<!--&amp;", "/]]>", "/" + 500 * "x" + "/end", "/é"]
    data = waterfall(series(*targets), pipelined(*targets))
    picture = Picture(data)
    picture.check()
    labels = picture.texts("label")[:5]
    assert labels[:3] == ["/<script>&\"'", "/a?b=<!--&amp;", "/]]>"]
    assert labels[3].startswith("/xxx")
    assert labels[3].endswith("xxx/end")
    assert "…" in labels[3]
    assert b"<script" not in data


def test_colours() -> None:
    """Each phase has one on light and another on dark, and so have text and background."""
    style = Picture(waterfall(series("/a"), [])).root.findtext(f"{NS}style") or ""
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    for name in [*(f".{phase.lower()}" for phase in PHASES), "text", ".background", ".grid"]:
        for rules in (light, dark):
            assert f"\n{name} {{" in rules


@pytest.mark.parametrize("factor", [0.00001, 0.001, 0.01, 0.37, 1, 2.2, 7, 60, 4000])
def test_scale(factor: float) -> None:
    """Whatever it took, there are some round times to go by."""
    one = series("/a", "/b")
    for each in one:
        each.start *= factor
        each.marks = {name: at * factor for name, at in each.marks.items()}
    picture = Picture(waterfall(one, []))
    picture.check()
    ticks = picture.texts("tick")
    assert 4 <= len(ticks) <= 11
    assert ticks[0].startswith("0 ")
    assert {tick.strip("0123456789.") for tick in ticks} <= {" ms", " s"}
    assert len(set(ticks)) == len(ticks)


def test_no_time_at_all() -> None:
    nothing = dict.fromkeys(ANSWERED, 0)
    Picture(waterfall([exchange(took=nothing)], [exchange(took=nothing)])).check()


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (0.34, 0.052, "saved 288.0 ms of 340.0 ms, 85 %: it was 6.5 times as fast"),
        (12.0, 3.0, "saved 9.00 s of 12.00 s, 75 %: it was 4.0 times as fast"),
        (0.002, 0.003, "saved nothing: 3.00 ms instead of 2.00 ms"),
    ],
)
def test_saving(before: float, after: float, words: str) -> None:
    assert saving(before, after) == f"Pipelining has {words}."


# --------------------------------------------------------------------- by the command


def test_from_a_server(endpoint: Endpoint, tmp_path: Path) -> None:
    scheme = "https" if endpoint.context else "http"
    urls = [f"{scheme}://localhost:{endpoint.port}/doc/{n}.txt" for n in range(1, 9)]
    done = run("time", "--svg", tmp_path / "x.svg", *urls)
    assert (done.status, done.err) == (0, "")
    picture = Picture((tmp_path / "x.svg").read_bytes())
    picture.check()
    assert picture.texts("label") == [f"/doc/{n}.txt" for n in range(1, 9)] * 2
    upper, lower = picture.halves
    connecting = [phase.lower() for phase in PHASES if scheme == "https" or phase != "TLS"]
    for half in (upper, lower):
        assert [bar.kind for bar in half[0]] == connecting
        for row in half[1:]:
            assert [bar.kind for bar in row] == ["sending", "waiting", "transfer"]
    for before, after in itertools.pairwise(upper):
        assert after[0].x >= before[-1].right - ABOUT
    # All of them were under way before the first one was answered.
    assert max(row[0].x for row in lower) < lower[0][-1].x


def served(listener: Listener, responses: Sequence[bytes]) -> int:
    """Answer requests as they come over one connection. Returns the most that came at once."""
    most = 0
    with listener.accept() as sock:
        data = b""
        for response in responses:
            while b"\r\n\r\n" not in data:
                data += sock.recv(65536)
            most = max(most, data.count(b"\r\n\r\n"))
            data = data.partition(b"\r\n\r\n")[2]
            sock.sendall(response)
    return most


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def test_first_one_by_one_and_then_at_once(listener: Listener, tmp_path: Path) -> None:
    urls = [listener.url(f"/{n}") for n in range(4)]
    with start("time", "--svg", tmp_path / "x.svg", *urls) as process:
        assert served(listener, [OK] * 4) == 1
        assert served(listener, [OK] * 4) == 4
        assert ended(process).status == 0
    assert listener.is_left_alone()
    Picture((tmp_path / "x.svg").read_bytes()).check()


def test_one_alone(listener: Listener, tmp_path: Path) -> None:
    with start("time", "--svg", tmp_path / "x.svg", listener.url()) as process:
        listener.serve(OK)
        assert ended(process).status == 0
    assert listener.is_left_alone()
    assert len(Picture((tmp_path / "x.svg").read_bytes()).halves) == 1


def test_pipelining_fails(listener: Listener, tmp_path: Path) -> None:
    urls = [listener.url("/1"), listener.url("/2")]
    with start("time", "--svg", tmp_path / "x.svg", *urls) as process:
        listener.serve(OK, OK)
        with listener.accept() as sock:
            head(sock)
            sock.sendall(b"nonsense\r\n\r\n")
        done = ended(process)
    assert done.status == 1
    assert done.out.count(b"\n") == 3
    assert done.err.startswith("dugong: no picture: fetching the URLs in a pipeline failed: ")
    assert done.err.count("\n") == 1
    assert not (tmp_path / "x.svg").exists()


def test_of_one_server_only(tmp_path: Path) -> None:
    urls = ["http://127.0.0.1:1/", "http://127.0.0.1:2/"]
    done = run("time", "--svg", tmp_path / "x.svg", *urls)
    message = "--svg requires URLs of a single server (see dugong time --help)"
    assert (done.status, done.out, done.err) == (2, b"", f"dugong: {message}\n")
