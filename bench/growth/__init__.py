"""Whether what is done each second costs the same with a long history behind it."""
