"""What load generators print becomes figures, or says why there are none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.bench.loads import _output, answered, durations, percentiles
from tests.bench.measure import Unusable
from tests.bench.rows import GATEWAYS, PROXIES, ROWS, TABLES, select

WRK = """Running 3s test @ http://127.0.0.1:8080/app/page
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.01ms  210.00us   9.64ms   91.30%
    Req/Sec    31.77k     1.53k   33.70k    80.00%
  94812 requests in 3.00s, 22.33MB read
{trouble}Requests/sec:  31601.27
Transfer/sec:      7.44MB
"""
H2LOAD = "1795231208351089\t200\t242\n1795231208352538\t{status}\t40\n1795231208353678\t200\t69\n"


def test_answers_are_what_wrk_counted() -> None:
    assert answered(WRK.format(trouble="")) == 94812


@pytest.mark.parametrize(
    ("report", "says"),
    [
        pytest.param(
            WRK.format(trouble="  Socket errors: connect 0, read 3, write 0, timeout 0\n"),
            "read 3",
            id="connections that broke",
        ),
        pytest.param(
            WRK.format(trouble="  Non-2xx or 3xx responses: 17\n"), "responses: 17", id="errors"
        ),
        pytest.param("  0 requests in 3.00s, 0.00B read\n", "no answer", id="nothing came"),
        pytest.param("unable to connect\n", "no answer", id="nothing was asked"),
    ],
)
def test_a_run_in_which_something_went_wrong_gives_no_figure(report: str, says: str) -> None:
    with pytest.raises(Unusable, match=says):
        answered(report)


def test_a_part_of_a_second_ends_by_an_interrupt(tmp_path: Path) -> None:
    script = tmp_path / "wrk"
    script.write_text(
        "import time\ntry: time.sleep(60)\nexcept KeyboardInterrupt: print('94812 requests in')"
    )
    said = _output([sys.executable, str(script)], interrupted_after=0.5)
    assert answered(said) == 94812


def test_durations_are_the_third_column_of_h2loads_log() -> None:
    assert durations(H2LOAD.format(status=200), 3) == [242, 40, 69]


@pytest.mark.parametrize(
    ("log", "says"),
    [
        pytest.param(H2LOAD.format(status=503), "2 of 3", id="an answer that is an error"),
        pytest.param(H2LOAD.format(status=-1), "2 of 3", id="no answer"),
        pytest.param(H2LOAD.format(status=200).splitlines()[0], "1 of 3", id="never asked"),
    ],
)
def test_a_request_without_its_answer_gives_no_latency(log: str, says: str) -> None:
    with pytest.raises(Unusable, match=says):
        durations(log, 3)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([*range(100, 0, -1)], (50.0, 99.0), id="a hundred"),
        pytest.param([*range(1, 1001)], (500.0, 990.0), id="a thousand"),
        pytest.param([7], (7.0, 7.0), id="one"),
        pytest.param([3, 1, 2], (2.0, 3.0), id="three"),
    ],
)
def test_percentiles_by_nearest_rank(values: list[int], expected: tuple[float, ...]) -> None:
    assert percentiles(values, 0.5, 0.99) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(
            "10m", ["bodies/10m/nginx", "bodies/10m/envoy", "bodies/10m/gateway-auth"], id="load"
        ),
        pytest.param(
            "connections/haproxy,caddy", ["small/page/caddy", "connections/new/haproxy"], id="two"
        ),
        pytest.param("haproxy/small/page", ["small/page/haproxy"], id="whole name in any order"),
    ],
)
def test_rows_are_chosen_by_parts_of_their_names(words: str, expected: list[str]) -> None:
    assert [str(row) for row in select(words)] == expected


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param("small/page/nginz", "nginz", id="no such proxy"),
        pytest.param("nginx,", "^$", id="nothing"),
        pytest.param("caddy/bodies", "bodies/caddy", id="not together"),
    ],
)
def test_a_word_that_names_no_row_is_an_error(words: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        select(words)


def test_every_load_has_the_units_of_its_ratios_and_the_gateway() -> None:
    for table in TABLES.values():
        assert set(table.goals) <= set(table.proxies) & set(GATEWAYS)
        assert set(table.proxies) <= set(PROXIES)
        for load in table.loads.values():
            proxies = set(load.proxies or table.proxies)
            assert proxies <= set(table.proxies)
            assert set(table.peers) - {"envoy"} <= proxies
            assert set(load.goals) <= proxies & set(GATEWAYS)
            assert proxies & set(GATEWAYS)
    assert len(set(map(str, ROWS))) == len(ROWS)
