"""One reader per benchmark: a local path, or None for its Hub data set, in; its rows as `Problem`s out.

Every reader raises InputError, with the place of the row, for what it cannot read.
"""
