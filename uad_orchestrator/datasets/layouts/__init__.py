"""One file per layout: from the files of a category to its manifest."""
