"""Query allocation as a gymnasium environment. Importing this package registers `simkit/Allocation-v0`."""

import gymnasium

ENV_ID = "simkit/Allocation-v0"
"""For `gymnasium.make`, with `victims` as of `simkit.env.allocation.AllocationEnv`."""

if ENV_ID not in gymnasium.registry:
    gymnasium.register(ENV_ID, entry_point="simkit.env.allocation:AllocationEnv")
