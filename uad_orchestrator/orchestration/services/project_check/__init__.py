"""What `uad check` looks at: images, words of the project, packages, weights, disk, store, and where its runs go."""
