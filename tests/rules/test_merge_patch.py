from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.merge_patch import merged


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        # RFC 7396, appendix A.
        ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
        ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
        ('{"a":"b"}', '{"a":null}', "{}"),
        ('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
        ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
        ('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
        ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
        ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
        ('["a","b"]', '["c","d"]', '["c","d"]'),
        ('{"a":"b"}', '["c"]', '["c"]'),
        ('{"a":"foo"}', "null", "null"),
        ('{"a":"foo"}', '"bar"', '"bar"'),
        ('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
        ("[1,2]", '{"a":"b","c":null}', '{"a":"b"}'),
        ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
    ],
)
def test_the_examples_of_the_rfc(target: str, patch: str, result: str) -> None:
    assert merged(json.loads(target), json.loads(patch)) == json.loads(result)


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.text("ab"),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("ab", max_size=2), inner),
    max_leaves=12,
)


@given(values, values)
def test_neither_is_changed_and_patching_again_changes_nothing_more(
    target: Any, patch: Any
) -> None:
    before = copy.deepcopy((target, patch))

    once = merged(target, patch)

    assert merged(once, patch) == once
    assert (target, patch) == before
