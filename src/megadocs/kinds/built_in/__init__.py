"""The built-in kinds, one file each: a module here with a `KIND` is a kind that every recipe can name."""
