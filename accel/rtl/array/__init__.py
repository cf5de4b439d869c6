"""The systolic array: multipliers, elements, mesh, and the decoder of weight codes at its edge."""
