"""The judge's prompt: a text file with places for the conversation, the response and the criterion.

The criterion comes last, so that all criteria of one response share the prompt's beginning in the
engine's prefix cache. The response is text of an untrusted author, quoted between two markers that
carry a nonce. The nonce is drawn from a hash of what is judged: the same verdict is always asked for
in the same words (which the verdict cache needs), yet it never occurs in the quoted text.

Example:
    >>> template = load_template("miniature")
    >>> text = render(template, prompt, "it is 5 .", Criterion(text="gives a number", points=1.0))
"""

import hashlib
import itertools
import re
from pathlib import Path

import msgspec

from grading.types import Criterion
from rollout.types import Message, Prompt

_PROMPTS = Path(__file__).parent / "prompts"
_PLACE = re.compile(r"\{(conversation|response|criterion|nonce:\d{1,2})\}")
_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)
_SPOKEN_THOUGHT = re.compile(r"\s*think :.*?\banswer :", re.DOTALL)
_SPECIAL_NAMES = (
    "s|bos|eos|pad|unk|mask|sep|cls|im_start|im_end|start_of_turn|end_of_turn|think|tool_call|tool_response"
)
_CONTROL = re.compile(
    rf"<(?=[|｜]|/?(?:{_SPECIAL_NAMES})>)|\[(?=/?(?:INST|SYS|TOOL_CALLS|TOOL_RESULTS)\])", re.IGNORECASE
)
_TRIES_BEFORE_LONGER = 64


class JudgeTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """A judge's prompt. Its text holds `{conversation}`, `{response}`, `{criterion}` and `{nonce:N}`.

    N is the nonce's length in letters; a nonce stands before and after the response.
    """

    name: str
    text: str

    def __post_init__(self) -> None:
        places = [place.partition(":")[0] for place in _PLACE.findall(self.text)]
        if places != ["conversation", "nonce", "response", "nonce", "criterion"]:
            raise ValueError(
                f"judge template {self.name!r} needs {{conversation}}, {{nonce:N}}, {{response}}, {{nonce:N}} and "
                f"{{criterion}}, once each and in this order; it has {', '.join(places) or 'none of them'}"
            )
        if len(set(re.findall(r"\{nonce:\d+\}", self.text))) != 1 or not self.nonce_length:
            raise ValueError(f"judge template {self.name!r}: both {{nonce:N}} need the same length N of at least 1")

    @property
    def nonce_length(self) -> int:
        """Letters of the nonce."""
        return int(re.findall(r"\{nonce:(\d+)\}", self.text)[0])


def load_template(name: str) -> JudgeTemplate:
    """A template of `grading/prompts/` by its name, or a text file by its path.

    Raises:
        ValueError: there is no such template, or it lacks a place.
    """
    shipped = {path.stem: path for path in _PROMPTS.glob("*.txt")}
    path = shipped.get(name, Path(name))
    if not path.is_file():
        raise ValueError(f"no judge template {name!r}; use one of {', '.join(sorted(shipped))} or a text file's path")
    return JudgeTemplate(name=name, text=path.read_text(encoding="utf-8").rstrip("\n"))


def render(
    template: JudgeTemplate, prompt: Prompt, response: str, criterion: Criterion, *, strip_thoughts: bool = True
) -> str:
    """The judge's prompt for one criterion of one response.

    Places are filled in one pass, so that a response which holds "{criterion}" is quoted as it is.

    Args:
        strip_thoughts: judge only what follows the response's reasoning, see `without_thoughts`.
    """
    conversation = defused(conversation_text(prompt.messages))
    quoted = defused(without_thoughts(response) if strip_thoughts else response).strip()
    code = nonce(template.nonce_length, conversation, quoted)
    values = {"conversation": conversation, "response": quoted, "criterion": criterion.text}
    return _PLACE.sub(lambda place: values.get(place.group(1), code), template.text)


def conversation_text(messages: tuple[Message, ...]) -> str:
    """The conversation as lines of "role : content"."""
    return "\n".join(f"{message.role} : {message.content}" for message in messages)


def without_thoughts(response: str) -> str:
    """The answer alone: no `<think>` blocks, and of "think : ... answer : ..." what follows "answer :"."""
    visible = without_think_blocks(response)
    spoken = _SPOKEN_THOUGHT.match(visible)
    return visible[spoken.end() :] if spoken else visible


def without_think_blocks(response: str) -> str:
    """The response without `<think>...</think>`, which a chat interface would not show either.

    A chat template may have opened the block already, and a truncated response may not close it:
    what stands before a lone closing tag, or after a lone opening one, is reasoning too.
    """
    visible = _THOUGHT.sub("", response)
    return visible.rpartition("</think>")[2].partition("<think>")[0]


def defused(text: str) -> str:
    """Text in which control tokens of chat templates are taken apart ("<|end|>" becomes "< |end|>").

    Otherwise a response could spell out the end of the judge's own turn and leave its quotes.
    """
    return _CONTROL.sub(lambda mark: mark.group() + " ", text)


def nonce(length: int, *texts: str) -> str:
    """Lower-case letters that follow from the texts and occur in none of them.

    Where the texts hold nearly all words of this length, the nonce grows.
    """
    whole = "\0".join(texts)
    seed = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).digest()
    words = (_letters(seed, attempt, length + attempt // _TRIES_BEFORE_LONGER) for attempt in itertools.count())
    return next(word for word in words if word not in whole.casefold())


def _letters(seed: bytes, attempt: int, length: int) -> str:
    digest = hashlib.shake_256(seed + attempt.to_bytes(8)).digest(length + 8)
    number = int.from_bytes(digest)
    return "".join(chr(ord("a") + number // 26**place % 26) for place in range(length))
