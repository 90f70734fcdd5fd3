"""``python -m synapse_engine.cli``, which needs no script on the PATH."""

from synapse_engine.cli import main

main()
