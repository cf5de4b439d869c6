"""What every room uses: errors, files, command lines, tools, the cache, bits."""
