"""Which vendor's primitives a component may instantiate."""

__all__ = ["is_ecp5"]


def is_ecp5(platform):
    """Whether `platform` (None in simulation) builds for a Lattice ECP5."""
    return getattr(platform, "device", "").startswith("LFE5")
