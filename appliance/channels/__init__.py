"""The ways in and out of the box, one file each."""
