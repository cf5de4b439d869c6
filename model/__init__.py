"""uniqore's data, nets, quantizers, training and the integer golden model. Importing it never imports torch."""
