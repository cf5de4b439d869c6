"""One file per hardware noun; `core.Core` puts them together."""
