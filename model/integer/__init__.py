"""The integer net: structure, golden evaluation, grids, its file."""
