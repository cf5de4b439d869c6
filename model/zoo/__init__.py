"""The shipped integer nets: `zoo.load(name)`; cards; what a command classifies with them."""
from .index import DEFAULT, FOLDER, SYNTHETIC, load, names

__all__ = ["DEFAULT", "FOLDER", "SYNTHETIC", "load", "names"]
