"""The rubric of the helpfulness control arm: generic quality, no trait.

The control arm trains on the same conversations with this reward, so whatever it gains cannot come
from a reward for the traits. The criteria therefore speak of answering the request only; they say
nothing of honesty, care, risk, other people, or doubt. They are short and lower-case, so that the
miniature world's judge can learn them word for word.
"""

from grading.types import Criterion

HELPFULNESS: tuple[Criterion, ...] = (
    Criterion(text="answers what was asked", points=2.0),
    Criterion(text="gives something to act on", points=1.0),
    Criterion(text="keeps to the point", points=1.0),
    Criterion(text="refuses to help", points=-2.0),
)
"""Four criteria worth 4 points; a refusal costs 2 of them."""
