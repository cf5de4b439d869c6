"""Integer net -> `accel.image.Image`."""
