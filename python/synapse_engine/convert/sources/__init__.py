"""One file for each way in which the family's tensors are named and laid out. Reads no file and writes none."""
