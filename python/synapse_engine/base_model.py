"""What lies beside the weights of a model that only continues text, whoever writes its folder. Knows no weights."""

import json

CHAT_TEMPLATE = "{{ messages | map(attribute='content') | join(' ') }}"
"""Jinja. Such a model has learned no roles, so that all it can be given is the text of the messages."""


def companions(window: int) -> dict[str, str]:
    """Names and contents of the files that every such folder has; ``window`` is the longest input in tokens."""
    tokenizer = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": window,
        "clean_up_tokenization_spaces": False,
    }
    return {"tokenizer_config.json": json.dumps(tokenizer, indent=2) + "\n", "chat_template.jinja": CHAT_TEMPLATE}
