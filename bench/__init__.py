"""Speed and quality of this engine beside others, on the same files and the same machine. Not part of the package."""
