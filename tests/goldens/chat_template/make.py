"""Makes the chat template goldens: what jinja2, set up by transformers, renders.

    python tests/goldens/chat_template/make.py

The templates here are written for this test, with the constructs that the templates of those families use.
"""

from __future__ import annotations

import importlib.metadata
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import jinja2
from transformers.utils import chat_template_utils

HERE = Path(__file__).parent
NOW = datetime(2025, 3, 9, 14, 5, tzinfo=timezone.utc)

USER = {"role": "user", "content": "Hi <there> & 'you' 🦀"}
SYSTEM = {"role": "system", "content": " Be brief.\n"}
ANSWER = {"role": "assistant", "content": "<think>\nhm\n</think>\n\n Hello! "}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [
        {
            "id": "call12345",
            "type": "function",
            "function": {"name": "weather", "arguments": {"city": "Zürich", "days": 3, "exact": True, "p": 0.5}},
        }
    ],
}
RESULT = {"role": "tool", "tool_call_id": "call12345", "name": "weather", "content": '{"sky": "blue"}'}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a city <now>",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer", "enum": [1, 3]}},
                "required": ["city"],
            },
        },
    }
]

CHATS: list[tuple[list[dict[str, Any]], list[Any] | None]] = [
    ([USER], None),
    ([SYSTEM, USER], None),
    ([SYSTEM, USER, ANSWER, USER], None),
    ([USER, ANSWER], None),
    ([USER, USER], None),
    ([SYSTEM, USER], TOOLS),
    ([USER, CALL, RESULT], TOOLS),
    ([USER, CALL, RESULT, RESULT, ANSWER, USER], TOOLS),
]


def outcome(template: Any, messages: list[dict[str, Any]], tools: list[Any] | None, prompt: bool) -> dict[str, str]:
    """The text, or the template's own words of refusal."""
    try:
        text = template.render(
            messages=messages,
            tools=tools,
            documents=None,
            add_generation_prompt=prompt,
            bos_token="<s>",
            eos_token="</s>",
        )
    except jinja2.exceptions.UndefinedError:
        raise
    except jinja2.exceptions.TemplateError as error:
        return {"refused": str(error)}
    return {"rendered": text}


def main() -> None:
    """Writes `expected.json`."""
    cases = []
    for path in sorted(HERE.glob("*.jinja")):
        template = chat_template_utils._compile_jinja_template(path.read_text(encoding="utf-8"))
        template.globals["strftime_now"] = NOW.strftime
        for messages, tools in CHATS:
            for prompt in (False, True):
                said = outcome(template, messages, tools, prompt)
                case = {"template": path.name, "messages": messages, "tools": tools, "add_generation_prompt": prompt}
                cases.append(case | said)
    versions = {name: importlib.metadata.version(name) for name in ("jinja2", "transformers")}
    golden = {"versions": versions, "now": f"{NOW.isoformat()}[UTC]", "cases": cases}
    text = json.dumps(golden, ensure_ascii=False, separators=(",", ":"))
    (HERE / "expected.json").write_text(text.replace('{"template"', '\n{"template"') + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
