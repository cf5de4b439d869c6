"""What works the SDRAM."""
