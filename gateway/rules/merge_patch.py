"""JSON Merge Patch."""

from __future__ import annotations

from typing import Any


def merged(target: Any, patch: Any) -> Any:
    """Return what a patch makes of a value; neither is changed.

    What the patch has replaces, object into object; ``null`` removes.

    Source: RFC 7396 section 2.
    """
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result
