"""As deep as the interpreter allows; the depth is part of the message."""


def dive(n):
    return dive(n + 1)


dive(0)
