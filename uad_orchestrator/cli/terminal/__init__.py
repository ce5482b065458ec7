"""What the commands share with the person before them: options, output, progress, what a glob selects."""
