"""`flowrunner run` with live orders, as a process: what it waits for, what stops it, and what a restart changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from anyio.from_thread import start_blocking_portal

from flowrunner.orders import STOP_FILE, Journal, Order, Refused
from flowrunner.store import FILE_NAME, reading
from tests.exchange.simulated import KEY, NO_TLS, Served, served
from tests.peers.program import Program, run
from tests.peers.until import until_elsewhere

FLOW = """
flow: site
market: {name: AT, slot: 15min, gate_closure: 1min}
nodes:
  telemetry:
    type: http-in
    route: POST /telemetry
    body: {soc_percent: {min: 0, max: 100}, temperature_c: {}, price_eur_mwh: {}}
  hot: {type: threshold, from: telemetry, field: temperature_c, above: 40}
  buy:
    type: rule
    from: hot
    when: soc_percent < 50
    then: {side: BUY, quantity_mwh: 1.0, limit_price_eur_mwh: price_eur_mwh}
  sell:
    type: rule
    from: hot
    when: soc_percent > 50
    then: {side: SELL, quantity_mwh: 1.0, limit_price_eur_mwh: price_eur_mwh}
  guard:
    type: risk-guard
    from: [buy, sell]
    stop_while: [hot]
    max_age: {telemetry: 1min}
    max_orders: {per_slot: 2, per_day: 10}
    price: {min: -500, max: 4000}
    max_quantity_mwh: 5
    max_value_eur: 1000
    max_position_mwh: 5
    energy: {capacity_mwh: 100}
  exchange:
    {type: exchange-out, from: guard, send: orders, mode: live, url: "${EXCHANGE_URL}", api_key: "${EXCHANGE_API_KEY}"}
  log: {type: log, from: [exchange, exchange.error, guard.blocked]}
"""


@pytest.fixture
def exchange() -> Iterator[Served]:
    """In a loop of its own, with the time of all of us."""
    with start_blocking_portal("asyncio") as portal, portal.wrap_async_context_manager(served()) as at:
        at.exchange.clock = time.time_ns
        yield at


class Site:
    """A flow file and a data folder, on which the program may run again and again."""

    def __init__(self, folder: Path, exchange: Served, flow: str = FLOW) -> None:
        self.file, self.data, self.exchange = folder / "flow.yaml", folder / "data", exchange
        self.file.write_text(flow, "utf-8")
        self.environment = {"EXCHANGE_URL": exchange.server.url, "EXCHANGE_API_KEY": KEY}
        self.stop_file = self.data / STOP_FILE

    def program(self) -> Program:
        return Program(self.file, data=self.data, env=self.environment)

    def journal(self) -> tuple[list[Order], list[Refused]]:
        with reading(self.data / FILE_NAME) as store:
            return Journal(store).orders(), Journal(store).refusals()

    def wish(self, program: Program, soc: float, until: Callable[[list[Order], list[Refused]], object]) -> None:
        """Say what the state of charge is, again and again, until the journal looks so: below 50 % the flow buys."""
        body = {"soc_percent": soc, "temperature_c": 25.0, "price_eur_mwh": 50.0}
        with httpx2.Client(trust_env=False, verify=NO_TLS) as http:

            def wished() -> bool:
                if until(*self.journal()):
                    return True
                assert http.post(f"{program.url}/telemetry", json=body).status_code == 200
                return False

            until_elsewhere(wished, lambda: (self.journal(), program.lines))

    def sides(self) -> list[str]:
        """Of the orders that the exchange has taken. Another slot may begin while a test runs; no order comes twice."""
        ids = [one.client_order_id for one in self.exchange.accepted]
        assert len(ids) == len(set(ids))
        return sorted({one.side for one in self.exchange.accepted})


def accepted(side: str) -> Callable[[list[Order], list[Refused]], object]:
    return lambda orders, _: any((one.side, one.state) == (side, "accepted") for one in orders)


def stopped(side: str) -> Callable[[list[Order], list[Refused]], object]:
    return lambda _, refused: any((one.side, one.reason) == (side, "trading-stopped") for one in refused)


def resume(site: Site) -> None:
    done = run("resume-trading", "--data", site.data, "--by", "operator", "--reason", "compared with the exchange")
    assert done.returncode == 0, done.stderr
    assert "trading goes on" in done.stdout


def test_the_first_live_start_waits_for_a_person_and_the_second_does_not(tmp_path: Path, exchange: Served) -> None:
    site = Site(tmp_path, exchange)
    with site.program() as program:
        program.until(f"site/exchange: LIVE: orders go to {exchange.server.url}")
        program.until("by flowrunner: live orders with a journal that has never seen any")
        program.until("site/exchange: trading-stopped: trading is stopped since ")
        assert site.stop_file.exists()
        site.wish(program, 20, stopped("BUY"))
        assert (site.journal()[0], site.sides()) == ([], [])

        second = run("run", site.file, "--data", site.data, "--port", "0", env=site.environment)
        assert second.returncode == 2
        assert "another" in second.stderr

        resume(site)
        assert not site.stop_file.exists()
        site.wish(program, 20, accepted("BUY"))
        assert site.sides() == ["BUY"]
        program.until("trading goes on")
        assert program.end() == 0
    exchange.accepted.clear()
    with site.program() as program:
        program.until("LIVE")
        assert not site.stop_file.exists()
        assert not [line for line in program.lines if "trading is stopped" in line]
        assert program.end() == 0


def test_the_switch_stops_a_running_program_and_stays_over_a_restart(tmp_path: Path, exchange: Served) -> None:
    site = Site(tmp_path, exchange)
    site.data.mkdir()
    with site.program() as program:
        resume(site)
        site.wish(program, 20, accepted("BUY"))
        site.stop_file.touch()
        site.wish(program, 80, lambda orders, refused: stopped("SELL")(orders, refused) or accepted("SELL")(orders, []))
        assert site.sides() == ["BUY"]
        program.until(f"trading is stopped: there is a file {site.stop_file}")
        assert program.end() == 0
    with site.program() as program:
        program.until("trading is stopped: there is a file")
        program.until("site/exchange: trading-stopped: ")
        assert site.stop_file.exists()
        count = sum(one.count for one in site.journal()[1])
        site.wish(program, 80, lambda orders, refused: sum(one.count for one in refused) > count)
        assert site.sides() == ["BUY"]
        resume(site)
        site.wish(program, 80, lambda orders, refused: any(one.reason != "trading-stopped" for one in refused) or
                  accepted("SELL")(orders, refused))  # fmt: skip
        assert program.end() == 0


def test_paper_on_a_new_folder_waits_for_nobody_and_sends_nothing(tmp_path: Path, exchange: Served) -> None:
    site = Site(tmp_path, exchange, FLOW.replace("mode: live", "mode: paper"))
    with site.program() as program:
        site.wish(program, 20, lambda orders, _: any(one.state == "paper" for one in orders))
        assert not site.stop_file.exists()
        assert not [line for line in program.lines if "LIVE" in line or "trading is stopped" in line]
        assert program.end() == 0
    assert site.sides() == []
