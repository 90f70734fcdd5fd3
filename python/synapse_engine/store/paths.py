"""Where models, run files and the chat history live. Knows folders only, nothing of what is in them."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """The folders of one user. ``SYNAPSE_HOME`` puts both under one roof."""

    data: Path
    state: Path

    @property
    def models(self) -> Path:
        """One folder for each installed model."""
        return self.data / "models"

    @property
    def specialists(self) -> Path:
        """One TOML file for each of the user's specialists, and their adapters."""
        return self.data / "specialists"

    @property
    def feedback(self) -> Path:
        """What the user's feedback taught the routing."""
        return self.data / "feedback.json"

    @property
    def last_route(self) -> Path:
        """The request that ``synapse route`` was last used for."""
        return self.state / "last-route.json"

    @property
    def runs(self) -> Path:
        """One file for each running server, and their logs."""
        return self.state / "run"

    @property
    def history(self) -> Path:
        """What the user typed in chats."""
        return self.state / "history"


def home() -> Home:
    """The folders to use now; the environment is read on every call."""
    override = os.environ.get("SYNAPSE_HOME")
    if override:
        root = Path(override).expanduser().absolute()
        return Home(data=root, state=root)
    import platformdirs

    return Home(
        data=platformdirs.user_data_path("synapse", appauthor=False),
        state=platformdirs.user_state_path("synapse", appauthor=False),
    )
