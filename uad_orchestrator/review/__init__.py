"""People judge what the line stopped: the images that wait, judgements, where judged images go, and the page for it."""
