"""Whether what a label source answered can be a label."""

from __future__ import annotations

import json
import math

from querist.errors import LabelError, RunError
from querist.runs.run import Run
from querist.values import Label

MAX_ANNOTATOR = 200


def refusal(run: Run, answer: object) -> str | None:
    """Why `answer` cannot be a label of `run`, in words; None when it can."""
    try:
        return _refusal(run, answer)
    except LabelError as error:
        return str(error)
    except RunError:  # ours, not the answer's: the ledger cannot be read
        raise
    except Exception as error:  # an object of the source's that raises when it is looked at
        return f"the answer cannot be written down, {type(error).__name__}"


def _refusal(run: Run, answer: object) -> str | None:
    if not isinstance(answer, Label):
        return f"a label source yields labels, not a {type(answer).__name__}"
    index = answer.index
    if isinstance(index, bool) or not isinstance(index, int):
        return f"a label's index is an integer, not {index!r:.80}"
    if not run.ledger.was_selected(index):
        return f"sample {index:.0f} was never asked for"
    annotator = answer.annotator
    if not isinstance(annotator, str) or len(annotator) > MAX_ANNOTATOR or "\0" in annotator:
        return f"an annotator is at most {MAX_ANNOTATOR} characters of text, not {annotator!r:.80}"
    annotator.encode()
    cost = answer.cost
    if isinstance(cost, bool) or not isinstance(cost, int | float):
        return f"a cost is a number from 0, not {cost!r:.80}"
    if not 0 <= float(cost) < math.inf:
        return f"a cost is a number from 0, not {cost!r:.80}"
    run.data.check_label(answer)
    json.dumps(answer.value)
    return None
