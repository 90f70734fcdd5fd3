"""The command ``synapse``. Each subcommand is a module of its own, imported only when it is used."""


def main() -> None:
    """The entry point."""
    from synapse_engine.cli.app import synapse

    synapse(prog_name="synapse")
