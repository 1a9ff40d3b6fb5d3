"""The one kind of error that a user can cause and mend."""


class UnfoldError(ValueError):
    """Bad input: a message of one line that says what is wrong, where, and what to do.

    The command line prints it without a traceback and exits with code 2.
    """
