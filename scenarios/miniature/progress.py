"""How a training process tells the process that started it how far it is: lines of a mark and a share."""

PROGRESS_MARK = "trained-share"


def print_progress(share: float) -> None:
    """Print the share done, in [0, 1]."""
    print(PROGRESS_MARK, share, flush=True)
