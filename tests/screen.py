"""A terminal's screen, as far as a display that is drawn in place needs one: what is left on it is what a user sees."""

from __future__ import annotations

import re

_PIECE = re.compile(r"\x1b\[([\d;]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)")


class Screen:
    """Rows of text and a cursor; a line that is too long for it goes on in the next row, as on a real one."""

    def __init__(self, columns):
        """Start with nothing."""
        self.columns = columns
        self.rows = [""]
        self.row = self.column = 0
        self.pictures = []

    def feed(self, text):
        """Take in what a program has written, and keep every picture that it finished with an erased rest."""
        at = 0
        while at < len(text):
            found = _PIECE.match(text, at)
            assert found, f"this screen does not know {text[at : at + 20]!r}"
            at = found.end()
            count, command, back, down, plain = found.groups()
            if command is not None:
                self._command(count, command)
            elif back:
                self.column = 0
            elif down:
                self._down()
            else:
                self._write(plain)
        return self

    def shown(self):
        """Give the rows that have something."""
        return [row.rstrip() for row in self.rows if row.strip()]

    def _command(self, numbers, command):
        row = self.rows[self.row]
        if command == "A":
            self.row = max(0, self.row - int(numbers or 1))
        elif command == "K":
            self.rows[self.row] = row[: self.column]
        elif command == "J":
            self.rows[self.row :] = [row[: self.column]]
            self.pictures.append(self.shown())
        else:
            assert command == "m", f"this screen does not know the command {command}"

    def _write(self, text):
        for char in text:
            if self.column == self.columns:
                self.column = 0
                self._down()
            row = self.rows[self.row].ljust(self.column)
            self.rows[self.row] = row[: self.column] + char + row[self.column + 1 :]
            self.column += 1

    def _down(self):
        self.row += 1
        if self.row == len(self.rows):
            self.rows.append("")
