"""From the text of uad.yaml to a project, or to everything wrong with it at once."""
