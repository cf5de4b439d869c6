"""From the tape to the rings that the core reads."""
