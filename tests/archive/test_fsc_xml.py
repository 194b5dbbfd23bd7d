from __future__ import annotations

from xml.etree import ElementTree

import pytest

from emres.archive.fsc_xml import fsc_xml
from emres.errors import UsageError


def test_titles_are_escaped_and_numbers_come_back() -> None:
    root = ElementTree.fromstring(fsc_xml([0.0, 0.125], [1.0, -0.02], 'a "map" < & >').encode())
    assert root.attrib["title"] == 'a "map" < & >'
    assert [(point.findtext("x"), point.findtext("y")) for point in root] == [
        ("0.000000", "1.000000"), ("0.125000", "-0.020000"),
    ]  # fmt: skip


def test_a_curve_of_another_length_is_refused() -> None:
    with pytest.raises(UsageError, match="does not fit"):
        fsc_xml([0.0, 0.1], [1.0], "x")
