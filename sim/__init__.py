"""The accelerator in simulation: engines, trace compare and the `classify` command."""
