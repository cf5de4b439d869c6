"""Float net -> quantized net -> integer net, in torch."""
