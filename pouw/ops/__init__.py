"""The kinds of operation that programs are made of, one file each."""
