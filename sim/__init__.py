"""uniqore's accelerator in simulation: engines, trace compare, and the commands `classify` and `serve`."""
