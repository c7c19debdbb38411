"""What happens when something dies: real daemons under traffic, and how long until all is well again."""
