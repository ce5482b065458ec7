"""The report as a folder of pages: the board, and a page per cell with every test image."""
