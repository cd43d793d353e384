"""The page's modules fit together: a browser says nothing of a name that is missing until somebody opens that page."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

import pytest

STATIC: Final = files("opsicm.console").joinpath("static")
MODULES: Final = sorted(file.name for file in STATIC.iterdir() if file.name.endswith(".js"))
_IMPORT: Final = re.compile(r'^import \{([^}]*)\} from "\./([\w/.]+)";$', re.MULTILINE)
_EXPORT: Final = re.compile(r"^export (?:async )?(?:function\*?|const|let|class) (\w+)", re.MULTILINE)
_LISTED: Final = re.compile(r"^export (?:const|let) (.+?);", re.MULTILINE)


def exported(name: str) -> set[str]:
    text = STATIC.joinpath(name).read_text(encoding="utf-8")
    listed = (part for line in _LISTED.findall(text) for part in re.findall(r"(?:^|, )(\w+) = ", line))
    return {*_EXPORT.findall(text), *listed}


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_takes_from_another_is_there(name: str) -> None:
    text = STATIC.joinpath(name).read_text(encoding="utf-8")
    for names, other in _IMPORT.findall(text):
        wanted = {one.split(" as ")[0].strip() for one in names.split(",")}
        assert wanted <= exported(other), f"{name} takes {wanted - exported(other)} from {other}"


def test_the_modules_are_read_as_they_are_written() -> None:
    assert {"ticks", "Rows"} <= exported("xy.js")
    assert any(_IMPORT.search(STATIC.joinpath(name).read_text(encoding="utf-8")) for name in MODULES)
