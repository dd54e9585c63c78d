"""The commands of the command line, one file each; `composite_lab.cli` puts them together."""
