"""Whether what a label source answered can be a label."""

from __future__ import annotations

import json
import math

from querist.errors import LabelError
from querist.runs.run import Run
from querist.values import Label

MAX_ANNOTATOR = 200


def refusal(run: Run, answer: object) -> str | None:
    """Why `answer` cannot be a label of `run`, in words; None when it can."""
    if not isinstance(answer, Label):
        return f"a label source yields labels, not a {type(answer).__name__}"
    index = answer.index
    if isinstance(index, bool) or not isinstance(index, int):
        return f"a label's index is an integer, not {index!r:.80}"
    if not run.ledger.was_selected(index):
        return f"sample {index} was never asked for"
    annotator = answer.annotator
    if not isinstance(annotator, str) or len(annotator) > MAX_ANNOTATOR or "\0" in annotator:
        return f"an annotator is at most {MAX_ANNOTATOR} characters of text, not {annotator!r:.80}"
    cost = answer.cost
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost < math.inf:
        return f"a cost is a number from 0, not {cost!r:.80}"
    try:
        annotator.encode()
        run.data.check_label(answer)
        json.dumps(answer.value, allow_nan=not run.data.pool.classes)
    except LabelError as error:
        return str(error)
    except (TypeError, ValueError, OverflowError) as error:
        return f"{answer.value!r:.80} of sample {index} cannot be written down: {error}"
    return None
