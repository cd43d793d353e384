"""YAML out: text that every YAML reader understands alike, 1.1 or 1.2."""

from __future__ import annotations

from typing import Any

import yaml

from opsicm.protocol.yaml_scalar import FLOAT


class _Dumper(yaml.SafeDumper):
    """Quotes a text that YAML 1.2 would read as a number; writes a float with all its digits."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    text = repr(value)
    if "e" in text and "." not in text:  # YAML 1.1 takes 1e-09 for a text
        text = text.replace("e", ".0e")
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(float, _float)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, None)
for _first in "0123456789+-.":
    _Dumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, [_first])


def yaml_text(data: Any) -> str:
    """`data` as YAML: order kept, the innermost mappings and lists on one line."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110)


def inline(data: Any) -> str:
    """`data` on one line, for a message: `{for_s: 300}`."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, default_flow_style=True, width=1000).split("\n", 1)[0]
