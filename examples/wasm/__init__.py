"""A chat: a machine on the server and one in each tab, each a mirror of the other."""
