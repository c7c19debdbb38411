"""The processes of a node: started, watched, confined, ended."""
