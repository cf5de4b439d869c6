"""The host's side of a board: UART, frames, commands."""
