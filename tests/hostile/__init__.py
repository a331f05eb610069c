"""Responses of hostile and broken servers, as data; `tests.session.test_hostile` runs them.

To add a row, put one line into a list of the module that its subject belongs to (`heads`,
`lengths`, `chunks`, `exchanges`); what the line says is explained in `table`. A response that has
no end goes to `floods`.
"""
