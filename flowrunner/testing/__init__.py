"""Flows in virtual time: the rig that tests use, ours and those of people who write nodes.

>>> from flowrunner.testing import Rig, run_flow
>>> flow = '''
... flow: demo
... nodes:
...   meter: {type: inject, every: 1h, payload: 0}
...   doubled: {type: scale, from: meter, factor: 2}
... '''
>>> async def story(rig: Rig) -> None:
...     await rig.emit("meter", 21)           # as if the node had sent it
...     assert rig.payloads("doubled") == [42]
...     await rig.advance("1h")               # takes no real time
...     assert rig.payloads("doubled") == [42, 0]
>>> run_flow(flow, story)

Nodes with a peer outside (a broker, a device) are named in ``stubs``: there are no sockets in virtual time.
"""

from flowrunner.testing.rig import Rig, StoryStuck, run_flow

__all__ = ["Rig", "StoryStuck", "run_flow"]
