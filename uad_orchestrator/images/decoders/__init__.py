"""The decoders behind ``images.decode``: which of them reads which file, and how each is made to tell of damage."""
