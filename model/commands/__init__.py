"""The verbs of `python -m model`, one module each: `run(options)` carries it out."""
