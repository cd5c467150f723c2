"""A reload tells the store who the nodes are now: at the next start a new name is found for what runs then."""

from __future__ import annotations

import pytest

from flowrunner.store import Store
from flowrunner.testing import Rig, run_flow
from tests.test_renamed import FLOW, verdict

OTHER = FLOW.replace("above: 40", "above: 41")


@pytest.mark.parametrize("reloads", [[OTHER], [OTHER, FLOW], [OTHER, FLOW, OTHER]])
def test_a_new_name_at_the_start_after_a_reload(reloads: list[str]) -> None:
    store = Store.open(None, inline=True)

    async def story(rig: Rig) -> None:
        for text in reloads:
            assert (await rig.reload(text)).result == "applied"
        await rig.emit("rest", {"t": 45})

    run_flow(FLOW, story, store=store)
    renamed = reloads[-1].replace("  hot:", "  overheated:")
    assert verdict(store, renamed, 39, "overheated", "2025-01-25T02:01:00Z") == "above"
