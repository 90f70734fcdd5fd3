"""Tasks whose answers can be checked: word problems by their number, SQL by what the query returns. Knows no model.

What is learned from and what is held out share no template and no name.
"""

from bench.tasks.task import Task, conversation, held_out, training

__all__ = ["Task", "conversation", "held_out", "training"]
