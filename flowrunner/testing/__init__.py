"""Flows in virtual time: the rig that tests use, ours and those of people who write nodes.

>>> async def story(rig):
...     await rig.emit("rest", {"soc_percent": 20})
...     await rig.advance("30s")
...     return rig.out("telemetry")
>>> messages = run_flow(text, story)
"""

from flowrunner.testing.rig import Rig, run_flow

__all__ = ["Rig", "run_flow"]
