"""One set a file, named as its key in the registry; files that begin with _ are shared bases."""
