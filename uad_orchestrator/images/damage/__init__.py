"""What a file's structure says of damage, before and beside decoding: decoders fill what is missing and say nothing."""
