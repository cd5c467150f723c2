"""The report of a replay, as plain text. Money to the cent, energy to the kWh."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date

from flowrunner.replay.figures import Result
from flowrunner.replay.remarks import SHOWN_MWH

WIDTH = 100
BEST = 5
"""Days that are shown from either end."""


def report(result: Result) -> str:
    """All of it, with a line break at the end."""
    parts = (_head, _money, _energy, _orders, _months, _days, _limits, _blocked, _rules, _remarks)
    return "\n".join("\n".join(lines) + "\n" for part in parts if (lines := list(part(result))))


def _head(result: Result) -> Iterator[str]:
    first, last, battery = result["from"], result["to"], result["battery"]
    days = (date.fromisoformat(last) - date.fromisoformat(first)).days + 1
    telemetry = result["telemetry"]
    yield f"{result['flow']}: {first} to {last} ({_count(days, 'day')}, {result['zone']}), in steps of {result['step']}"
    yield f"prices     {result['prices']}" + (f" ({result['credit']})" if "credit" in result else "")
    yield (
        f"battery    {battery['capacity_mwh']:g} MWh, {battery['power_mw']:g} MW, efficiency "
        f"{battery['efficiency']:g} each way; from {battery['soc_start_percent']:.1f} % to "
        f"{battery['soc_end_percent']:.1f} %"
    )
    if "battery_as" in telemetry:
        yield f"telemetry  of the simulated battery, as {telemetry['battery_as']} would send it"
    for node, count in telemetry["recorded"].items():
        yield f"recorded   {node}: {_count(count, 'record')}"
    if "battery_as" not in telemetry:
        yield "telemetry  recorded: the simulated battery follows the orders, and the flow does not see it"


def _money(result: Result) -> Iterator[str]:
    energy = result["energy"]
    yield from _columns(
        [
            ["profit", f"{_eur(result['profit_eur'])} EUR"],
            ["  received", f"{_eur(result['revenue_eur'])} EUR"],
            ["  paid", f"{_eur(result['cost_eur'])} EUR"],
            *(
                [
                    [f"  for each MWh {what}", f"{_eur(result['profit_eur'] / energy[f'{what}_mwh'])} EUR"]
                    for what in ("bought", "sold")
                    if energy[f"{what}_mwh"] > SHOWN_MWH
                ]
            ),
            *(
                [["  of what flowed", f"{_eur(result['profit_of_what_flowed_eur'])} EUR"]]
                if sum(energy["undelivered_mwh"].values()) > SHOWN_MWH
                else []
            ),
        ]
    )


def _energy(result: Result) -> Iterator[str]:
    energy, battery = result["energy"], result["battery"]
    short, share = energy["undelivered_mwh"], battery["efficiency"] ** 2
    rows = [
        ["bought", energy["bought_mwh"]],
        ["sold", energy["sold_mwh"]],
        *([["taken by the site" if energy["site_mwh"] >= 0 else "given by the site", abs(energy["site_mwh"])]]
          if "site_mwh" in energy else []),
        ["lost in conversion", energy["losses_mwh"]],
        ["more in the battery" if energy["stored_change_mwh"] >= 0 else "less in the battery",
         abs(energy["stored_change_mwh"])],
        *([["bought and not taken", short["bought"]]] if short["bought"] > SHOWN_MWH else []),
        *([["sold and not given", short["sold"]]] if short["sold"] > SHOWN_MWH else []),
    ]  # fmt: skip
    yield from _columns([[name, f"{_mwh(value)} MWh"] for name, value in rows])
    yield f"{battery['full_cycles']:.2f} full cycles; of 1 MWh that is bought {share:.4f} MWh can be sold"


def _orders(result: Result) -> Iterator[str]:
    orders = result["orders"]
    states = Counter(one["status"] for one in orders)
    split = ", ".join(f"{count} {state}" for state, count in sorted(states.items(), key=lambda one: (-one[1], one[0])))
    yield f"orders: {len(orders)}" + (f" ({split})" if orders else "")
    rows = []
    for side in ("BUY", "SELL"):
        filled = [one for one in orders if one["side"] == side and one["status"] == "filled"]
        if filled:
            mwh = sum(one["quantity_mwh"] for one in filled)
            mean = sum(one["quantity_mwh"] * one["price_eur_mwh"] for one in filled) / mwh
            rows.append(
                [f"  {side}", f"{len(filled)} filled", f"{_mwh(mwh)} MWh", f"at {_eur(mean)} EUR/MWh on average"]
            )
    yield from _columns(rows, left=(0, 3))
    why = Counter(one["reason"] for one in orders if one["status"] not in ("filled", "unfilled") and "reason" in one)
    for reason, count in why.most_common(5):
        yield f"  {count} not sent: {reason}"


def _months(result: Result) -> Iterator[str]:
    rows = [["month", "profit EUR", "bought MWh", "sold MWh", "orders", "cycles"]]
    rows += [
        [one["month"], _eur(one["profit_eur"]), _mwh(one["bought_mwh"]), _mwh(one["sold_mwh"]), str(one["orders"]),
         f"{one['cycles']:.2f}"]
        for one in result["months"]
    ]  # fmt: skip
    yield from _columns(rows)


def _days(result: Result) -> Iterator[str]:
    days = sorted(result["days"], key=lambda one: (-one["profit_eur"], one["date"]))
    best = [one for one in days[:BEST] if one["profit_eur"] > 0]
    worst = [one for one in days[-BEST:] if one["profit_eur"] < 0]
    for title, some in (("best days", best), ("worst days", worst)):
        if some:
            yield from _columns(
                [
                    [
                        title if place == 0 else "",
                        one["date"],
                        f"{_eur(one['profit_eur'])} EUR",
                        _count(one["orders"], "order"),
                    ]
                    for place, one in enumerate(some)
                ],
                left=(0, 1),
                widths=[10],
            )


def _limits(result: Result) -> Iterator[str]:
    limits = result["limits"]
    names = {
        "at_full_power_h": "at full power",
        "at_min_soc_h": "as empty as it may be",
        "at_max_soc_h": "as full as it may be",
        "derated_by_heat_h": "slowed down by heat",
    }
    yield from _columns(
        [
            [
                "hours at a limit" if place == 0 else "",
                what,
                f"{limits[key]:.1f}",
                _share(limits[key], limits["hours"]),
            ]
            for place, (key, what) in enumerate(names.items())
        ],
        left=(0, 1),
    )


def _blocked(result: Result) -> Iterator[str]:
    if not result["blocked"]:
        return
    yield "blocked by the risk-guard"
    rows = [
        [f"  {reason}", _count(one["slots"], "slot"), f"{one['times']}×", one["example"]]
        for reason, one in result["blocked"].items()
    ]
    yield from _columns(rows, left=(0, 3))


def _rules(result: Result) -> Iterator[str]:
    for name, rule in result["rules"].items():
        yield f"rule {name}: {_count(rule['records'], 'record')}, on {rule['wished']} of them it wished an order"
        yield from _columns(
            [
                [f"  {one['text']}", "held", str(one["held"]), "did not", str(one["not_held"]), *(
                    ["could not be judged", str(one["not_judged"])] if one["not_judged"] else ["", ""]
                )]
                for one in rule["conditions"]
            ],
            left=(0, 1, 3, 5),
        )  # fmt: skip


def _remarks(result: Result) -> Iterator[str]:
    for one in result["remarks"]:
        yield from textwrap.wrap(one, WIDTH, break_on_hyphens=False, break_long_words=False)


# ---- columns ------------------------------------------------------------------------------------------------------


def _columns(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,), widths: Sequence[int] = ()) -> Iterator[str]:
    """Aligned: numbers to the right, those in ``left`` to the left. ``widths``: the least of the first ones."""
    if not rows:
        return
    wide = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    wide = [max(width, least) for width, least in zip(wide, [*widths, *[0] * len(wide)], strict=False)]
    for row in rows:
        cells = [
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, wide, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _eur(value: float) -> str:
    return f"{value + 0.0 if abs(value) >= 0.005 else 0.0:,.2f}"


def _mwh(value: float) -> str:
    return f"{value + 0.0 if abs(value) >= 0.0005 else 0.0:,.3f}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _share(part: float, whole: float) -> str:
    return f"({part / whole:.1%})" if whole else ""
