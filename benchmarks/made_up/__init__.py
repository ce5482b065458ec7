"""Made-up categories and what is measured on them, each measurement in a process of its own (``fresh_process``)."""
