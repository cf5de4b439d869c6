"""uniqore's accelerator: instruction set, compiler, interpreter, cycle model (numpy), RTL (Amaranth). Never torch."""
