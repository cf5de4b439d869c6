"""The shipped nets: NAME.npz, its card NAME.json and its training log NAME.csv."""
