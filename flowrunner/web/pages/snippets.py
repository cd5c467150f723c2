"""What to write into a flow file where a dashboard has nothing to show yet."""

EMPTY = """dashboard:
  tiles:
    - {tile: value, from: telemetry, field: soc_percent, title: {en: State of charge, de: Ladezustand}}
    - {tile: power, from: telemetry, field: active_power_mw, limit: 5}
    - {tile: events}
"""
FORM = """nodes:
  manual:
    type: manual-in
    fields:
      soc_percent: {min: 0, max: 100, unit: "%"}
    expires_after: 2h
dashboard:
  tiles:
    - {tile: form, from: manual}
"""
ORDERS = """nodes:
  buy:
    type: rule
    from: state
    when: [soc_percent < 30, price_eur_mwh <= 60]
    then: {side: BUY, quantity_mwh: 1.0, limit_price_eur_mwh: price_eur_mwh}
  guard: {type: risk-guard, from: buy, max_quantity_mwh: 1.0}
  exchange: {type: exchange-out, from: guard, send: orders, mode: paper, url: "http://localhost:9100"}
"""
ALARMS = """nodes:
  overheated: {type: threshold, from: telemetry, field: temperature_c, above: 40}
  alarms: {type: alarm-out, from: [overheated.above]}
"""
