"""Search for settings: trials of arms on a grid, run as steps, until a local optimum is certified."""
