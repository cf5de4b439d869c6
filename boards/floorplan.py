"""Where the multipliers of the array go on the LFE5U-85F.

The decisive step of the whole place and route: with every partial-sum chain along a physical row of DSP sites the mesh
routes at full speed; placed freely it does not route at all. The chip has three rows of 52 MULT18X18D sites.
"""
__all__ = ["lfe5u_85f"]

SITES = [(base + dx, z) for base in (4, 13, 22, 31, 40, 49, 58, 69, 78, 87, 96, 105, 114)
         for dx, z in ((0, 0), (1, 1), (4, 4), (5, 5))]          # (x, z) of the 52 sites of a row
SITE_ROWS = (10, 34, 58)                                         # y
CHAIN_PITCH = 17                                                 # sites a chain takes, one spare
# (third of the width, row of sites) of each chain: from one to the next is one step across or down. The third that is
# left over is where activation memory, im2col and picture loader lie: with a chain there too its sums find no way.
PLACES = ((0, 1), (0, 0), (1, 0), (2, 0), (2, 1), (1, 1), (1, 2), (2, 2), (0, 2))


def lfe5u_85f(row, chain):
    """BEL name of the multiplier of array row `row` (0 .. 15) and chain `chain` (0 .. 7 or 8)."""
    third, site_row = PLACES[chain]
    x, z = SITES[third * CHAIN_PITCH + row]
    return f"X{x}/Y{SITE_ROWS[site_row]}/MULT18_{z}"
