"""How many tokens a text is, without the model's tokenizer: an estimate, a floor and a ceiling.

The estimate follows the provider's rules of thumb (docs.bigmodel.cn, pricing: one token is about
1.6 Chinese characters or 4 to 4.6 English ones), taken on the safe side. The floor decides whether
a prompt cannot fit a context at all; the ceiling is what money may be reserved on.
"""

from __future__ import annotations

from typing import Any

from batchkit.records import Message

OVERHEAD = 5  # the chat template's own tokens around one message
PER_MESSAGE = 2  # and for each further one


TENTHS = 10  # of a token, in which texts are weighed


def estimate(text: str) -> int:
    """Tokens of `text`, erring upward: 0.3 per ASCII character, 0.8 per other character."""
    return -(-weigh(text) // TENTHS)


def weigh(text: str) -> int:
    """Tenths of tokens of `text`; the weight of two texts together is the sum of theirs."""
    if text.isascii():
        return 3 * len(text)
    ascii_count = len(text.encode("ascii", "ignore"))
    return 3 * ascii_count + 8 * (len(text) - ascii_count)


def at_least(text: str) -> int:
    """A floor for prose: no tokenizer in use packs over 8 ASCII or 2 other characters a token."""
    ascii_count = len(text) if text.isascii() else len(text.encode("ascii", "ignore"))
    return ascii_count // 8 + (len(text) - ascii_count) // 2


def at_most(text: str) -> int:
    """A ceiling: a byte-level tokenizer never needs more tokens than bytes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def texts(messages: list[Message]) -> list[str]:
    """Every text of `messages` that the model reads."""
    found: list[str] = []
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            found.append(content)
        elif isinstance(content, list):
            found.extend(
                p["text"] for p in content if isinstance(p, dict) and isinstance(p.get("text"), str)
            )
        found.extend(_arguments(message.get("tool_calls")))
    return found


def _arguments(calls: Any) -> list[str]:
    if not isinstance(calls, list):
        return []
    functions = [call.get("function") for call in calls if isinstance(call, dict)]
    return [
        f["arguments"]
        for f in functions
        if isinstance(f, dict) and isinstance(f.get("arguments"), str)
    ]


def estimate_prompt(messages: list[Message]) -> int:
    """Estimated prompt tokens of a chat, the template's overhead included."""
    return OVERHEAD + PER_MESSAGE * (len(messages) - 1) + sum(map(estimate, texts(messages)))
