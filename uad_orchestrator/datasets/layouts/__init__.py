"""From the files of a category to its manifest: a module for each layout."""
