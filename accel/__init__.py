"""The accelerator: instruction set, compiler, interpreter, cycle model (numpy) and RTL (Amaranth). Never torch."""
