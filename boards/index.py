"""All boards that there are."""
from . import icepi_zero, icesugar_pro, ulx3s

__all__ = ["BOARDS"]

BOARDS = {board.name: board for family in (ulx3s, icesugar_pro, icepi_zero) for board in family.BOARDS}
