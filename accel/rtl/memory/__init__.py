"""What is stored and how it is read: blocks, activations, pictures, im2col."""
