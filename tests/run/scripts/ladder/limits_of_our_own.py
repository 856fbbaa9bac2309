"""An exception for ``--exception``, found like any module that the script could import."""


class TooLong(BaseException):
    pass


class NotAnException:
    pass


class NeedsArguments(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(one, two)
