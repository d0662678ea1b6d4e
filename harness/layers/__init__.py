"""`trueline model layers`: which node of a network moves the lines, node by node (docs/layers.md).

table.py      what is told of a network, and as JSON
measure.py    walks the network and switches its nodes
suffixes.py   the lines that a switched node leads to
view.py       the table in a terminal
"""
