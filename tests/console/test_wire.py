"""Messages: what is packed is unpacked, exactly; what a page may not say is refused."""

from __future__ import annotations

import numpy as np
import pytest

from opsicm.console.wire import HEAD, FromPage, Kind, decoded, from_page, view_message
from opsicm.core.errors import BadInput
from opsicm.figures.view import Axis, CurvePanel, ImagePanel, Series, View

X = np.array([0.0, 1.0, 2.5])
Y = np.array([1e-12, np.nan, -3.0])
CURVES = CurvePanel(Axis("time", "s"), Axis("E", "V"), (Series("µ <b>", X, Y, "cell", "dashed"),), "a note")
VALUES = np.array([[1.0, 2.0, np.nan], [4.0, 5.0, 7.0]])
IMAGE = ImagePanel(Axis("x", "µm"), Axis("y", "µm"), Axis("height", "nm"), VALUES, (0.0, 3.0, 0.0, 2.0))


def test_a_view_arrives_as_it_was() -> None:
    data = view_message("map", View("v", "title", (CURVES, IMAGE), "caption")).numbered(7)
    kind, number, content = decoded(data)
    assert (kind, number, content["slot"], content["title"]) == (Kind.VIEW, 7, "map", "title")
    curves, image = content["panels"]
    (series,) = curves["series"]
    assert (series["label"], series["role"], series["style"]) == ("µ <b>", "cell", "dashed")
    np.testing.assert_array_equal(series["x"], X)
    np.testing.assert_array_equal(series["y"], Y)
    np.testing.assert_array_equal(image["values"], VALUES)
    assert image["limits"] == pytest.approx(np.nanpercentile(VALUES, [1, 99]))


def test_arrays_stand_where_a_browser_may_map_them() -> None:
    for title in ("", "a", "ab", "abc", "µ", "abcdefgh"):
        data = view_message("map", View("v", title, (CURVES,))).numbered(1)
        assert (HEAD.size + HEAD.unpack_from(data)[5]) % 8 == 0, "float64 needs a multiple of 8"
        assert len(data) % 8 == 0


def test_an_image_without_any_value_has_no_limits() -> None:
    empty = ImagePanel(IMAGE.x, IMAGE.y, IMAGE.value, np.full((2, 2), np.nan), IMAGE.extent)
    _, _, content = decoded(view_message("map", View("v", "t", (empty,))).numbered(1))
    assert content["panels"][0]["limits"] is None


@pytest.mark.parametrize("data", [b"", b"oCon", b"nono" + bytes(12), b"oCon\x02\x00" + bytes(10)])
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(BadInput, match="is no message of the console"):
        decoded(data)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"drawn": 3}', FromPage(drawn=3)),
        ('{"levelling": "plane"}', FromPage(levelling="plane")),
        ('{"speed": 2.5, "playing": false}', FromPage(speed=2.5, playing=False)),
        ('{"seek": 0}', FromPage(seek=0)),
    ],
)
def test_what_a_page_may_say(text: str, said: FromPage) -> None:
    assert from_page(text) == said


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "3",
        '{"drawn": "3"}',
        '{"drawn": true}',
        '{"drawn": -1}',
        '{"speed": NaN}',
        '{"speed": 1e400}',
        '{"seek": -1}',
        '{"levelling": "<script>"}',
        '{"playing": 1}',
        '{"stop": true}',
        "[" * 5000,
    ],
)
def test_what_a_page_may_not_say(text: str) -> None:
    with pytest.raises(BadInput, match="one JSON object with drawn"):
        from_page(text)
