"""What the pages in ``docs/coming-from`` say, put to the test.

- `pages` reads their tables; `snippets` is the program that runs one column of a table, and
  `server` what it talks to.
- `dugong3` is a program that does the same with dugong 3.8 and with this one, and says what came
  of it: one function for each difference that the migration guide lists.

The programs need nothing but Python and the library they are about: the other column is run by an
interpreter that has the library.
"""
