"""Options that several commands share."""
import argparse

from .compiler.batches import MOST_PICTURES

__all__ = ["add_batch"]


def add_batch(parser):
    """`--batch`: most pictures that a program may take at once."""
    parser.add_argument("--batch", type=_pictures, default=MOST_PICTURES, metavar="N",
                        help="most pictures at once, of which the compiler takes as many as make the net fastest; 1: "
                             "one after the other, for the shortest latency (default: %(default)s)")


def _pictures(text):
    if not (text.isdecimal() and 1 <= int(text) <= MOST_PICTURES):
        raise argparse.ArgumentTypeError(f"must be an integer in 1 .. {MOST_PICTURES}, not {text!r}")
    return int(text)
