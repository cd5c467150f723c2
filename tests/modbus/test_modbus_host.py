"""The option `host` of modbus-in: a name or an address, without the port."""

import pytest

from flowrunner.graph import check_flows
from flowrunner.registry import Registry

FLOW = """
flow: plant
nodes:
  device: {{type: modbus-in, host: "{host}", registers: {{v: {{address: 0}}}}}}
"""


@pytest.mark.parametrize("host", ["192.168.1.5:502", "plc.local:502", "plc:", "[::1]:502"])
def test_a_host_with_a_port_is_a_fault(host: str) -> None:
    checked = check_flows({"flow.yaml": FLOW.format(host=host)}, {}, Registry())
    assert [(one.path, one.message, one.hint) for one in checked.problems if one.severity == "error"] == [
        ("device.host", f"{host!r} contains a port", "the port goes into 'port:'")
    ]


@pytest.mark.parametrize("host", ["192.168.1.5", "plc.local", "::1", "fe80::1%eth0"])
def test_a_host_without_one_is_none(host: str) -> None:
    checked = check_flows({"flow.yaml": FLOW.format(host=host)}, {}, Registry())
    assert [one for one in checked.problems if one.severity == "error"] == []
