"""The rows of a memory bank: embedded, thinned to a coreset, collected; and those of a bank without some images."""
