"""What the keeper of a mirrored gallery folder and its readers agree on."""

MARKER = ".changed"  # renewed after every change: while it is the same file, nothing else has changed either
NOT = "not"  # sub-folder of a label's: pictures of others who are taken for that person
